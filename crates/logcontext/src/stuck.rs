//! Polls that kept an executor from its other work: by burning CPU, or by blocking.

use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::context::LogContext;
use crate::diagnostics::RateLimit;
use crate::meter::{self, Mark};
use crate::sync::lock;

/// What every poll is compared with, in nanoseconds: the least that a supervisor's limit can be.
pub(crate) const LEAST: u64 = 1_000_000;
const DEFAULT: u64 = 100_000_000;

/// How many polls took longer than the supervisor's limit, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowPolls {
    /// Blocked the executor: the thread waited for something else than work.
    pub blocked: u64,
    /// Burned CPU without yielding.
    pub burned: u64,
    /// Neither: the thread wanted to run, and the system let others run instead. Such a machine has too few
    /// processors. Where that is not certain it counts as blocked.
    pub preempted: u64,
    /// The longest, blocked or burned.
    pub longest: Duration,
}

/// The slow polls of one supervisor.
pub(crate) struct Stuck {
    limit: AtomicU64,
    blocked: AtomicU64,
    burned: AtomicU64,
    preempted: AtomicU64,
    longest: AtomicU64,
    log: Mutex<[RateLimit; 2]>,
}

impl Default for Stuck {
    fn default() -> Self {
        Self {
            limit: AtomicU64::new(DEFAULT),
            blocked: AtomicU64::new(0),
            burned: AtomicU64::new(0),
            preempted: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            log: Mutex::default(),
        }
    }
}

impl Stuck {
    pub(crate) fn set_limit(&self, limit: Duration) {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        self.limit.store(nanos.max(LEAST), Relaxed);
    }

    pub(crate) fn slow_polls(&self) -> SlowPolls {
        SlowPolls {
            blocked: self.blocked.load(Relaxed),
            burned: self.burned.load(Relaxed),
            preempted: self.preempted.load(Relaxed),
            longest: Duration::from_nanos(self.longest.load(Relaxed)),
        }
    }
}

/// Milliseconds, for people.
struct Millis(u64);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0 as f64 / 1e6)
    }
}

/// A poll in this context took a millisecond or more. If that was on an executor's thread and longer than the
/// supervisor allows, say which of the two it was.
#[cold]
#[inline(never)]
pub(crate) fn look_at(context: &LogContext, mark: Mark) {
    let stretch = mark.until_last_switch();
    let supervisor = context.supervisor();
    let stuck = supervisor.stuck();
    if stretch.wall < stuck.limit.load(Relaxed) || !crate::executor::is_here() {
        return;
    }
    // Who polled this poll has waited as long, and is not to blame.
    meter::excuse_since(mark);
    // Where there is no CPU clock, how the time went cannot be told: it was blocked for everyone else.
    let burned = stretch.cpu.is_some_and(|cpu| cpu >= stretch.wall / 2);
    if !burned && mark.has_not_waited() {
        stuck.preempted.fetch_add(1, Relaxed);
        return;
    }
    stuck.longest.fetch_max(stretch.wall, Relaxed);
    let count = if burned { &stuck.burned } else { &stuck.blocked };
    count.fetch_add(1, Relaxed);
    let Some(suppressed) = lock(&stuck.log)[usize::from(burned)].pass(Instant::now()) else { return };
    let cpu = stretch.cpu.map(Millis);
    let wall = Millis(stretch.wall);
    let cpu = cpu.as_ref().map(tracing::field::display);
    let suppressed = (suppressed > 0).then_some(suppressed);
    let made_at = context.origin().map(tracing::field::display);
    context.scope_as_follower(|| {
        if burned {
            tracing::warn!(target: "logcontext::executor", %wall, cpu, made_at, suppressed,
                "burned CPU without yielding");
        } else {
            tracing::warn!(target: "logcontext::executor", %wall, cpu, made_at, suppressed,
                "blocked the executor");
        }
    });
}

//! What went wrong with contexts: kinds, counters, a hook, and a log line that does not flood.
//!
//! None of these occurs in a healthy service. Each names the contexts and the lines of code that it concerns.

use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use crate::context::LogContext;
use crate::kind::ContextKind;
use crate::meter;
use crate::sync::{lock, read, write};

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $message:literal;)*) => {
        /// A kind of fault. The names are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DiagnosticKind {
            $($(#[doc = $doc])* $variant,)*
        }

        impl DiagnosticKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, for metrics and searches.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happened, in one sentence.
            pub fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

kinds! {
    /// At the end of a scope or a poll its context was not current any more: the sentinel was.
    /// Synapse: `Expected logging context %s was lost`.
    ContextLost = "context_lost", "expected context was lost to the sentinel";
    /// At the end of a scope or a poll another context was current; or one was where the sentinel should be.
    /// Synapse: `Expected logging context %s but found %s`.
    ContextMismatch = "context_mismatch", "expected context, found another";
    /// A context was entered after it had finished, by something that is no follower of it.
    /// Synapse: `Re-starting finished log context %s`.
    FinishedRestarted = "finished_restarted", "finished context was started again";
    /// A guard was held across an `.await`: its context would have leaked into what the thread runs next.
    GuardAcrossAwait = "guard_across_await", "guard was held across an await";
    /// A guard was dropped on a thread that it was not made on.
    GuardOnOtherThread = "guard_on_other_thread", "guard was dropped on another thread";
    /// Guards were dropped in another order than the reverse of their making.
    GuardOutOfOrder = "guard_out_of_order", "guard was dropped out of order";
    /// A CPU clock went backwards. Synapse: `utime went backwards!`.
    ClockWentBackwards = "clock_went_backwards", "CPU clock went backwards";
    /// The context of a background process was entered after the process had ended.
    /// Synapse: `Background process re-entered without a proc`.
    BackgroundReentered = "background_reentered", "background process was entered again after its end";
    /// A database transaction was started from the sentinel: nobody would see its cost.
    TransactionFromSentinel = "transaction_from_sentinel", "database transaction was started from the sentinel";
    /// A database transaction was started in the closure of another one, and takes a second connection of the same
    /// pool: where all who have one wait for a second, nobody goes on.
    TransactionInside = "transaction_inside", "database transaction was started inside of another one";
    /// A bus command was sent or handled in the sentinel.
    CommandFromSentinel = "command_from_sentinel", "bus command was started from the sentinel";
    /// A nested context was asked of the sentinel.
    /// Synapse: `Starting nested logging context from sentinel context`.
    NestedFromSentinel = "nested_from_sentinel", "nested context was started from the sentinel";
    /// Blocking work was started from the sentinel.
    /// Synapse: `Calling defer_to_threadpool from sentinel context`.
    BlockingFromSentinel = "blocking_from_sentinel", "blocking work was started from the sentinel";
    /// Work that follows the current context was put into the background from the sentinel.
    BackgroundFromSentinel = "background_from_sentinel", "background work was started from the sentinel";
    /// Two sources of figures under one supervisor have the same name; the second one got a number.
    /// Synapse: `Metric named %s already registered`.
    NameUsedTwice = "name_used_twice", "name is in use already";
}

impl fmt::Display for DiagnosticKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One fault: what a hook is given.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What kind of fault.
    pub kind: DiagnosticKind,
    /// The context that it happened to.
    pub context: LogContext,
    /// The context that was found instead, if that is what is wrong.
    pub found: Option<LogContext>,
    /// The line of code that started what is at fault.
    pub origin: Option<&'static Location<'static>>,
    /// More, for people.
    pub detail: Option<Box<str>>,
}

impl Report {
    /// A fault of this kind that happened to this context. Adapters raise their own: see
    /// [`DiagnosticKind::CommandFromSentinel`].
    pub fn new(kind: DiagnosticKind, context: &LogContext) -> Self {
        Self { kind, context: context.clone(), found: None, origin: None, detail: None }
    }

    /// The context that was found instead.
    #[must_use]
    pub fn found(mut self, found: &LogContext) -> Self {
        self.found = Some(found.clone());
        self
    }

    /// The line of code that started what is at fault.
    #[must_use]
    pub fn origin(mut self, origin: &'static Location<'static>) -> Self {
        self.origin = Some(origin);
        self
    }

    /// More, for people.
    #[must_use]
    pub fn detail(mut self, detail: &str) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Counts it, tells the hooks, and logs it unless there were many of its kind lately.
    #[cold]
    pub fn raise(self) {
        let concerned = match &self.found {
            Some(found) if self.context.is_sentinel() => found,
            _ => &self.context,
        };
        let supervisor = concerned.supervisor();
        supervisor.faults().take(&self);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}", self.kind, self.kind.message(), self.context)?;
        if let Some(found) = &self.found {
            write!(f, ", found {found}")?;
        }
        if let Some(detail) = &self.detail {
            write!(f, ", {detail}")?;
        }
        if let Some(origin) = self.origin {
            write!(f, ", started at {origin}")?;
        }
        f.write_str(")")
    }
}

type Hook = Arc<dyn Fn(&Report) + Send + Sync>;

/// The faults of one supervisor.
#[derive(Default)]
pub(crate) struct Diagnostics {
    counts: [AtomicU64; DiagnosticKind::ALL.len()],
    limits: Mutex<[RateLimit; DiagnosticKind::ALL.len()]>,
    hooks: RwLock<Vec<Hook>>,
}

impl Diagnostics {
    pub(crate) fn count(&self, kind: DiagnosticKind) -> u64 {
        self.counts[kind as usize].load(Relaxed)
    }

    pub(crate) fn add_hook(&self, hook: Hook) {
        write(&self.hooks).push(hook);
    }

    pub(crate) fn take(&self, report: &Report) {
        self.counts[report.kind as usize].fetch_add(1, Relaxed);
        // Out of the lock, so that a hook may add hooks.
        let hooks = read(&self.hooks).clone();
        for hook in hooks {
            hook(report);
        }
        let Some(suppressed) = lock(&self.limits)[report.kind as usize].pass(Instant::now()) else { return };
        tracing::warn!(
            target: "logcontext::diagnostics",
            kind = report.kind.name(),
            expected = %report.context,
            found = report.found.as_ref().map(tracing::field::display),
            detail = report.detail.as_deref(),
            started_at = report.origin.map(tracing::field::display),
            made_at = report.context.origin().map(tracing::field::display),
            suppressed = (suppressed > 0).then_some(suppressed),
            "{}",
            report.kind.message(),
        );
    }
}

/// So many lines a minute, then silence until the next.
#[derive(Default)]
pub(crate) struct RateLimit {
    window: Option<Instant>,
    passed: u32,
    suppressed: u64,
}

impl RateLimit {
    const LINES: u32 = 10;
    const WINDOW: Duration = Duration::from_secs(60);

    /// May this one be logged? Then answers how many before it were not.
    pub(crate) fn pass(&mut self, now: Instant) -> Option<u64> {
        if self.window.is_none_or(|start| now.duration_since(start) >= Self::WINDOW) {
            self.window = Some(now);
            self.passed = 0;
        }
        if self.passed >= Self::LINES {
            self.suppressed += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

/// A context that has finished, or whose whole has, is about to be entered by something that was started there.
#[cold]
pub(crate) fn entered_late(context: &LogContext, origin: &'static Location<'static>) {
    let Some(inner) = context.inner() else { return };
    // What runs inside a follower, or inside late work that was reported when it began, is part of it.
    if meter::current().is_family_of(context) || !inner.account().report_late() {
        return;
    }
    let kind = match context.kind() {
        ContextKind::Background => DiagnosticKind::BackgroundReentered,
        _ => DiagnosticKind::FinishedRestarted,
    };
    Report::new(kind, context).origin(origin).raise();
}

/// A scope or a poll has ended, and its context was not current any more.
#[cold]
pub(crate) fn misplaced(
    expected: &LogContext,
    found: &LogContext,
    origin: Option<&'static Location<'static>>,
) {
    let kind =
        if found.is_sentinel() { DiagnosticKind::ContextLost } else { DiagnosticKind::ContextMismatch };
    let mut report = Report::new(kind, expected).found(found);
    report.origin = origin;
    report.raise();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_logged_ten_times_a_minute_and_says_how_much_it_left_out() {
        let mut limit = RateLimit::default();
        let start = Instant::now();
        let passed = (0..100).filter(|_| limit.pass(start).is_some()).count();
        assert_eq!(passed, 10);
        assert_eq!(limit.pass(start + RateLimit::WINDOW), Some(90));
        assert_eq!(limit.pass(start + RateLimit::WINDOW), Some(0));
    }
}

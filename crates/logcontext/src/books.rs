//! The books: where the process's CPU went.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock;
use crate::meter;
use crate::supervisor;

/// CPU that adapters charged to contexts and that other threads' clocks hold as well.
static BY_ADAPTERS: AtomicU64 = AtomicU64::new(0);
/// What the contexts had been charged before a `fork`.
static BEFORE_FORK: AtomicU64 = AtomicU64::new(0);

pub(crate) fn charged_by_adapter(nanos: u64) {
    BY_ADAPTERS.fetch_add(nanos, Relaxed);
}

/// Where the CPU of this process went, at one moment. Each part is measured on its own, none is a rest.
///
/// Two equations hold. Those who run the service look at the second, the tests at both:
/// - contexts (less what adapters charged) + sentinel + meter + open = the CPU clocks of the threads we know;
/// - the process's clock = before + those clocks + foreign threads + unaccounted.
#[derive(Clone, Copy, Debug)]
pub struct Books {
    process: i64,
    before: i64,
    known: i64,
    contexts: i64,
    by_adapters: i64,
    sentinel: i64,
    sentinel_system: i64,
    meter: i64,
    open: i64,
    foreign: i64,
    known_threads: usize,
    foreign_threads: usize,
}

/// Reads the books: any time, from any thread. `None` on platforms without CPU clocks for threads.
///
/// ```
/// logcontext::LogContext::new("import").scope(|| (0..1_000_000).map(std::hint::black_box).sum::<u64>());
/// if let Some(books) = logcontext::books() {
///     assert!(books.process() >= books.known_threads_cpu());
///     println!("{books}");
/// }
/// ```
pub fn books() -> Option<Books> {
    meter::settle();
    if !meter::cpu_is_measured() {
        return None;
    }
    let (threads, contexts) = read_at_one_moment();
    let foreign = threads.read_others();
    let process = clock::process_cpu()?;
    Some(Books {
        process: process.cast_signed(),
        before: threads.before.cast_signed(),
        known: threads.known.cast_signed(),
        contexts: contexts.cast_signed(),
        by_adapters: BY_ADAPTERS.load(Relaxed).cast_signed(),
        sentinel: threads.sentinel,
        sentinel_system: threads.sentinel_system.cast_signed(),
        meter: threads.meter.cast_signed(),
        open: threads.open.iter().map(|(_, nanos)| nanos).sum(),
        foreign: foreign.cpu.cast_signed(),
        known_threads: threads.live(),
        foreign_threads: foreign.threads,
    })
}

/// Threads and contexts cannot be read at once, and whoever reads may lose the processor in between. So the
/// threads are read before and after; if they have moved on by more than a little, the reading is made again.
fn read_at_one_moment() -> (meter::Threads, u64) {
    let mut best = None;
    for _ in 0..8 {
        let before = meter::read_threads();
        let contexts = supervisor::root_cpu().saturating_sub(BEFORE_FORK.load(Relaxed));
        let moved = meter::read_threads().moved_since(&before);
        let little = moved <= before.known / 500;
        if best.as_ref().is_none_or(|(least, _)| moved < *least) {
            best = Some((moved, (before, contexts)));
        }
        if little {
            break;
        }
    }
    best.map(|(_, reading)| reading).unwrap_or_default()
}

fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

impl Books {
    /// The process's CPU clock: all threads, living and gone.
    pub fn process(&self) -> Duration {
        duration(self.process)
    }

    /// Burned before the books began, which they do with the first slice: by the loader, by what `main` did before
    /// its first context, and by what the process was before an `exec` (`cargo run` becomes what it runs).
    pub fn before(&self) -> Duration {
        duration(self.before)
    }

    /// The CPU clocks of all threads that were ever in a context, since the books began.
    pub fn known_threads_cpu(&self) -> Duration {
        duration(self.known)
    }

    /// Charged to contexts, each charge once.
    pub fn contexts(&self) -> Duration {
        duration(self.contexts)
    }

    /// Of [`contexts`](Self::contexts), what adapters charged for threads of their own (`charge_cpu`).
    pub fn charged_by_adapters(&self) -> Duration {
        duration(self.by_adapters)
    }

    /// Charged to the sentinel: executors between polls, threads before their first work.
    pub fn sentinel(&self) -> Duration {
        duration(self.sentinel)
    }

    /// The system time in it, an estimate.
    pub fn sentinel_system(&self) -> Duration {
        duration(self.sentinel_system)
    }

    /// What measuring has cost itself.
    pub fn meter(&self) -> Duration {
        duration(self.meter)
    }

    /// In slices that have not ended yet.
    pub fn open(&self) -> Duration {
        duration(self.open)
    }

    /// The clocks of living threads that never were in a context.
    pub fn foreign_threads_cpu(&self) -> Duration {
        duration(self.foreign)
    }

    /// How many threads there are now that were ever in a context, and how many that never were.
    pub fn threads(&self) -> (usize, usize) {
        (self.known_threads, self.foreign_threads)
    }

    /// What nothing explains: threads that ended without ever having been in a context, and the very ends of
    /// the others.
    pub fn unaccounted(&self) -> Duration {
        duration(self.rest())
    }

    /// The same as a share of the process's CPU since the books began, in percent.
    pub fn unaccounted_percent(&self) -> f64 {
        percent(self.rest(), self.process - self.before)
    }

    fn rest(&self) -> i64 {
        self.process - self.before - self.known - self.foreign
    }

    /// By how much the parts miss the clocks of the threads we know, in percent of these; 0 is perfect.
    pub fn discrepancy_percent(&self) -> f64 {
        let parts = self.contexts - self.by_adapters + self.sentinel + self.meter + self.open;
        percent(parts - self.known, self.known)
    }
}

fn percent(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

/// A table of the parts, for people.
impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("before", self.before),
            ("contexts", self.contexts - self.by_adapters),
            ("sentinel", self.sentinel),
            ("meter", self.meter),
            ("open slices", self.open),
            ("foreign threads", self.foreign),
            ("unaccounted", self.rest()),
            ("process", self.process),
        ];
        for (name, nanos) in rows {
            writeln!(f, "{name:<16}{:>12.6} s {:>7.2} %", nanos as f64 / 1e9, percent(nanos, self.process))?;
        }
        write!(
            f,
            "parts against the clocks of {} known threads: {:+.3} %",
            self.known_threads,
            self.discrepancy_percent()
        )
    }
}

/// To be called in the child right after `fork`, before it starts a thread: clocks and books start anew there.
///
/// Fork while the process has one thread only; of the others nothing is left in the child but the locks that
/// they held.
pub fn after_fork() {
    BY_ADAPTERS.store(0, Relaxed);
    BEFORE_FORK.store(supervisor::root_cpu(), Relaxed);
    meter::after_fork();
}

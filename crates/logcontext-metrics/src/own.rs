//! What the supervisor counts beside its contexts, and the books of the process.

use logcontext::diagnostics::DiagnosticKind;
use logcontext::{Books, SlowPolls, Supervisor};

use crate::encode::{Kind, Text, Value};
use crate::supervised::nanos;

/// The label of contexts that have none (yet).
pub(crate) const NONE: &str = "(none)";
/// The label of what is beyond the limit.
pub(crate) const OTHER: &str = "other";

/// Read once a scrape.
pub(crate) struct Own {
    diagnostics: Vec<(&'static str, u64)>,
    slow_polls: SlowPolls,
    panics: u64,
    live_contexts: usize,
    books: Option<Books>,
    high: BooksHigh,
}

/// What of the books only grows, as it was shown last; in nanoseconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct BooksHigh {
    process: u64,
    before: u64,
    contexts: u64,
    adapters: u64,
    sentinel: u64,
    sentinel_system: u64,
    meter: u64,
}

impl Own {
    /// The books are read where no lock of ours is held: that may take some readings.
    pub(crate) fn read(supervisor: &Supervisor) -> Self {
        Self {
            diagnostics: DiagnosticKind::ALL
                .iter()
                .map(|kind| (kind.name(), supervisor.diagnostics(*kind)))
                .collect(),
            slow_polls: supervisor.slow_polls(),
            panics: supervisor.panics(),
            live_contexts: supervisor.live_contexts(),
            books: logcontext::books(),
            high: BooksHigh::default(),
        }
    }

    /// The process's CPU by its own clock, in nanoseconds.
    pub(crate) fn process_cpu(&self) -> Option<u64> {
        self.books.as_ref().map(|books| nanos(books.process()))
    }

    /// Takes care that nothing is shown as less than it was: contexts and threads cannot be read at one moment.
    pub(crate) fn raise_to(&mut self, last: &mut BooksHigh) {
        if let Some(books) = &self.books {
            last.raise(books);
        }
        self.high = *last;
    }

    pub(crate) fn write(&self, text: &mut Text) {
        let mut family = text.family(
            "logcontext_diagnostics",
            Kind::Counter,
            "Faults in the use of contexts, by kind. None occurs in a healthy service.",
        );
        for (kind, n) in &self.diagnostics {
            family.sample_by("", Some(("kind", kind)), Value::Count(*n));
        }
        self.write_slow_polls(text);
        text.single(
            "logcontext_panics",
            Kind::Counter,
            "Panics that were reported.",
            Some(Value::Count(self.panics)),
        );
        text.single(
            "logcontext_live_contexts",
            Kind::Gauge,
            "Contexts of all kinds that have not finished, or that something still holds.",
            Some(Value::Count(self.live_contexts as u64)),
        );
        if let Some(books) = &self.books {
            self.high.write(text);
            write_gauges(text, books);
        }
    }

    fn write_slow_polls(&self, text: &mut Text) {
        let SlowPolls { blocked, burned, preempted, longest, .. } = self.slow_polls;
        let mut family = text.family(
            "logcontext_slow_polls",
            Kind::Counter,
            "Polls that took longer than the limit, by what the thread did: it waited, burned CPU, or was not let run.",
        );
        for (cause, n) in [("blocked", blocked), ("burned", burned), ("preempted", preempted)] {
            family.sample_by("", Some(("cause", cause)), Value::Count(n));
        }
        text.single(
            "logcontext_slow_poll_longest_seconds",
            Kind::Gauge,
            "The longest poll so far that blocked the executor or burned CPU.",
            Some(Value::Nanos(nanos(longest))),
        );
    }
}

impl BooksHigh {
    fn raise(&mut self, books: &Books) {
        // What adapters charged is in the contexts too, and was burned by threads that are in the books elsewhere.
        let contexts = books.contexts().saturating_sub(books.charged_by_adapters());
        for (high, now) in [
            (&mut self.process, books.process()),
            (&mut self.before, books.before()),
            (&mut self.contexts, contexts),
            (&mut self.adapters, books.charged_by_adapters()),
            (&mut self.sentinel, books.sentinel()),
            (&mut self.sentinel_system, books.sentinel_system()),
            (&mut self.meter, books.meter()),
        ] {
            *high = (*high).max(nanos(now));
        }
    }

    fn write(&self, text: &mut Text) {
        let mut family = text.family(
            "logcontext_books_cpu_seconds",
            Kind::Counter,
            "CPU time of the process by where it went, each part measured on its own.",
        );
        for (part, nanos) in [
            ("before", self.before),
            ("contexts", self.contexts),
            ("sentinel", self.sentinel),
            ("meter", self.meter),
        ] {
            family.sample_by("", Some(("part", part)), Value::Nanos(nanos));
        }
        for (name, help, nanos) in [
            (
                "logcontext_books_process_cpu_seconds",
                "CPU time of the process by its own clock, at the moment at which the books were read.",
                self.process,
            ),
            (
                "logcontext_books_adapter_cpu_seconds",
                "CPU time of drivers' threads that was charged to contexts, a database's for one.",
                self.adapters,
            ),
            (
                "logcontext_books_sentinel_system_cpu_seconds",
                "Of the sentinel's CPU time, what was in the kernel: an estimate.",
                self.sentinel_system,
            ),
        ] {
            text.single(name, Kind::Counter, help, Some(Value::Nanos(nanos)));
        }
    }
}

/// What goes up and down.
fn write_gauges(text: &mut Text, books: &Books) {
    for (name, help, time) in [
        (
            "logcontext_books_open_cpu_seconds",
            "CPU time in slices that have not ended, and are in no other part yet.",
            books.open(),
        ),
        (
            "logcontext_books_foreign_cpu_seconds",
            "CPU time of living threads that never were in a context.",
            books.foreign_threads_cpu(),
        ),
        (
            "logcontext_books_unaccounted_cpu_seconds",
            "CPU time that nothing explains: foreign threads that have ended, and the very ends of others.",
            books.unaccounted(),
        ),
    ] {
        text.single(name, Kind::Gauge, help, Some(Value::Nanos(nanos(time))));
    }
    for (name, help, percent) in [
        (
            "logcontext_books_unaccounted_ratio",
            "The same as a share of the process's CPU time since the books began.",
            books.unaccounted_percent(),
        ),
        (
            "logcontext_books_discrepancy_ratio",
            "By how much the parts miss the clocks of the threads that are known, as a share of these.",
            books.discrepancy_percent(),
        ),
    ] {
        text.single(name, Kind::Gauge, help, Some(Value::Float(percent / 100.0)));
    }
    let (known, foreign) = books.threads();
    let mut family = text.family(
        "logcontext_threads",
        Kind::Gauge,
        "Threads that are alive: known ones were in a context, foreign ones never were.",
    );
    for (kind, n) in [("known", known), ("foreign", foreign)] {
        family.sample_by("", Some(("kind", kind)), Value::Count(n as u64));
    }
}

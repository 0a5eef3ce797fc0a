//! A test kit: tests that fail when something leaks its context, and captured log records with theirs.
//!
//! ```
//! use logcontext::{LogContext, testing};
//!
//! let test = testing::start();
//! LogContext::new("GET-17").scope(|| tracing::info!(user = "@alice", "hello"));
//!
//! let records = test.records();
//! assert_eq!(records[0].context.name(), "GET-17");
//! assert_eq!(records[0].message, "hello");
//! assert_eq!(records[0].field("user"), Some("@alice"));
//! // dropped here, the guard fails the test if it ends outside the sentinel or a diagnostic was raised
//! ```

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span;

use crate::context::LogContext;
use crate::diagnostics::{DiagnosticKind, Report};
use crate::supervisor::Supervisor;
use crate::sync::lock;
use crate::{clock, meter};

/// One log record and the context that it was written in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// Its level.
    pub level: tracing::Level,
    /// Its target.
    pub target: String,
    /// Its message.
    pub message: String,
    /// Its other fields, in order, as text.
    pub fields: Vec<(&'static str, String)>,
    /// The context.
    pub context: LogContext,
}

impl Record {
    /// The value of a field, as text.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

/// A test's own supervisor, the faults it has seen, and the records that were written: see [`start`].
#[must_use = "the test is looked at when this is dropped"]
pub struct Test {
    supervisor: Supervisor,
    before: Supervisor,
    reports: Arc<Mutex<Vec<Report>>>,
    records: Arc<Mutex<Vec<Record>>>,
    dispatch: tracing::Dispatch,
    _default: tracing::dispatcher::DefaultGuard,
}

/// Starts a test: with a supervisor of its own, and with the records of this thread captured. Make runtimes with
/// [`Test::current_thread`] and [`Test::multi_thread`], and their threads belong to the test as well.
///
/// # Panics
/// If the calling thread is not in the sentinel. Dropping the guard panics as well, if the test ends outside the
/// sentinel or a diagnostic was raised that the test has not [taken](Test::take).
pub fn start() -> Test {
    let current = meter::current();
    assert!(current.is_sentinel(), "the test starts in context {current} instead of the sentinel");
    let supervisor = Supervisor::new("test");
    let reports = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reports);
    supervisor.on_diagnostic(move |report| lock(&seen).push(report.clone()));
    let records = Arc::new(Mutex::new(Vec::new()));
    let dispatch = tracing::Dispatch::new(Capture { records: Arc::clone(&records) });
    let before = supervisor.adopt_thread();
    let default = tracing::dispatcher::set_default(&dispatch);
    Test { supervisor, before, reports, records, dispatch, _default: default }
}

impl Test {
    /// The test's own supervisor.
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The records so far.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.records).clone()
    }

    /// The records so far at this level.
    pub fn records_at(&self, level: tracing::Level) -> Vec<Record> {
        self.records().into_iter().filter(|record| record.level == level).collect()
    }

    /// Takes the faults of this kind: they were expected, and do not fail the test.
    pub fn take(&self, kind: DiagnosticKind) -> Vec<Report> {
        lock(&self.reports).extract_if(.., |report| report.kind == kind).collect()
    }

    /// The faults that nobody has taken.
    pub fn reports(&self) -> Vec<Report> {
        lock(&self.reports).clone()
    }

    /// Something to call on each thread that works for the test.
    pub fn thread_start(&self) -> impl Fn() + Send + Sync + Clone + 'static {
        let (supervisor, dispatch) = (self.supervisor.clone(), self.dispatch.clone());
        move || {
            supervisor.adopt_thread();
            DEFAULT.set(Some(tracing::dispatcher::set_default(&dispatch)));
        }
    }

    /// A runtime on this thread.
    ///
    /// # Panics
    /// If the system refuses it.
    #[cfg(feature = "tokio")]
    pub fn current_thread(&self) -> tokio::runtime::Runtime {
        self.build(tokio::runtime::Builder::new_current_thread())
    }

    /// A runtime with so many workers.
    ///
    /// # Panics
    /// If the system refuses it.
    #[cfg(feature = "tokio")]
    pub fn multi_thread(&self, workers: usize) -> tokio::runtime::Runtime {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(workers);
        self.build(builder)
    }

    #[cfg(feature = "tokio")]
    fn build(&self, mut builder: tokio::runtime::Builder) -> tokio::runtime::Runtime {
        builder
            .enable_time()
            .on_thread_start(self.thread_start())
            .on_thread_park(crate::expect_sentinel)
            .build()
            .expect("a runtime for the test")
    }
}

thread_local! {
    static DEFAULT: std::cell::Cell<Option<tracing::dispatcher::DefaultGuard>> = const { std::cell::Cell::new(None) };
}

impl Drop for Test {
    fn drop(&mut self) {
        let current = crate::set_current_context(LogContext::sentinel());
        self.before.adopt_thread();
        if std::thread::panicking() {
            return;
        }
        assert!(current.is_sentinel(), "the test ends in context {current} instead of the sentinel");
        let reports = self.reports();
        assert!(
            reports.is_empty(),
            "the test raised diagnostics:\n{}",
            reports.iter().map(|report| format!("  {report}\n")).collect::<String>()
        );
    }
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Test").field("reports", &self.reports()).finish_non_exhaustive()
    }
}

/// From now on the calling thread's CPU clock reads this much less: what no clock should do.
pub fn turn_back_the_cpu_clock(by: std::time::Duration) {
    clock::testing::set_step_back(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX));
}

struct Capture {
    records: Arc<Mutex<Vec<Record>>>,
}

impl tracing::Subscriber for Capture {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut record = Record {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            message: String::new(),
            fields: Vec::new(),
            context: meter::current(),
        };
        event.record(&mut record);
        lock(&self.records).push(record);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

impl Record {
    fn put(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.fields.push((field.name(), value));
        }
    }
}

//! [`Supervisor`]: one running service in a process.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::context::LogContext;
use crate::diagnostics::{DiagnosticKind, Diagnostics, Report};
use crate::ledger::{self, LabelTotals, Ledger};
use crate::meter;
use crate::source::Source;
use crate::stuck::{SlowPolls, Stuck};
use crate::sync::lock;

/// One running service in a process: its contexts and their totals, what it runs in the background, its faults,
/// its shutdown. Contexts carry it; work started in them belongs to it. There is a default one; tests, and two
/// services in one process, make their own and do not meet.
///
/// ```
/// use logcontext::{LogContext, Supervisor};
///
/// let service = Supervisor::new("presence");
/// let startup = service.context("startup").start();
/// startup.scope(|| assert_eq!(Supervisor::current(), service));
/// assert_eq!(service.contexts(), [startup]);
/// assert!(!Supervisor::global().contexts().iter().any(|ctx| ctx.name() == "startup"));
/// ```
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    name: Box<str>,
    ledger: Ledger,
    diagnostics: Diagnostics,
    stuck: Stuck,
    requests: AtomicU64,
    connections: AtomicU64,
    panics: AtomicU64,
    sources: Mutex<Vec<Weak<dyn Source>>>,
    /// Kinds and names that were claimed.
    names: Mutex<Vec<(&'static str, Arc<str>)>>,
    #[cfg(feature = "tokio")]
    running: crate::running::RunningList,
}

/// All supervisors of the process, for the books; and what the contexts of those that are gone were charged.
static ALL: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());
static GONE: AtomicU64 = AtomicU64::new(0);

impl Drop for Inner {
    fn drop(&mut self) {
        // Under the lock, so that whoever reads the books sees it in one place.
        let mut all = lock(&ALL);
        GONE.fetch_add(self.ledger.gone_cpu(), Relaxed);
        // Itself alone: others may be about to do the same.
        all.retain(|supervisor| !std::ptr::eq(supervisor.as_ptr(), self));
    }
}

thread_local! {
    /// What new contexts of this thread belong to where no context says so.
    static AMBIENT: RefCell<Option<Supervisor>> = const { RefCell::new(None) };
}

/// CPU charged to all root contexts of the process.
pub(crate) fn root_cpu() -> u64 {
    let (all, gone) = loop {
        let known = lock(&ALL);
        let live: Vec<_> = known.iter().filter_map(Weak::upgrade).collect();
        let is_all = live.len() == known.len();
        let gone = GONE.load(Relaxed);
        drop(known);
        if is_all {
            break (live, gone);
        }
        // One is about to go, and has not said yet what it was charged: it waits for the lock.
        drop(live);
        std::thread::yield_now();
    };
    let ledgers: Vec<&Ledger> = all.iter().map(|supervisor| &supervisor.ledger).collect();
    gone + ledger::root_cpu(&ledgers)
}

impl Supervisor {
    /// A supervisor of its own.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        let inner = Arc::new(Inner {
            name: name.into(),
            ledger: Ledger::default(),
            diagnostics: Diagnostics::default(),
            stuck: Stuck::default(),
            requests: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            sources: Mutex::default(),
            names: Mutex::default(),
            #[cfg(feature = "tokio")]
            running: crate::running::RunningList::default(),
        });
        lock(&ALL).push(Arc::downgrade(&inner));
        Self(inner)
    }

    /// The default one.
    pub fn global() -> Self {
        static GLOBAL: OnceLock<Supervisor> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::new("default")).clone()
    }

    /// The one of the current context; outside any, the thread's own, or the default one.
    pub fn current() -> Self {
        let found = meter::peek(|current| current.inner().map(|inner| inner.supervisor().clone()));
        found.unwrap_or_else(Self::ambient)
    }

    /// What work in the sentinel belongs to on this thread.
    pub(crate) fn ambient() -> Self {
        AMBIENT.try_with(|ambient| ambient.borrow().clone()).ok().flatten().unwrap_or_else(Self::global)
    }

    /// Makes it the one that work in no context belongs to on the calling thread, from now on; returns what was.
    /// Give it to every thread of a runtime with `on_thread_start`.
    pub fn adopt_thread(&self) -> Self {
        let before = AMBIENT.try_with(|ambient| ambient.borrow_mut().replace(self.clone()));
        before.ok().flatten().unwrap_or_else(Self::global)
    }

    /// The name of the service.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// A context of this supervisor, in the making.
    #[track_caller]
    pub fn context(&self, name: impl Into<crate::SmallStr>) -> crate::ContextBuilder {
        LogContext::builder(name).supervisor(self)
    }

    /// The contexts that live: those that have not finished, and those that something still holds.
    pub fn contexts(&self) -> Vec<LogContext> {
        self.0.ledger.contexts().into_iter().map(LogContext::from_inner).collect()
    }

    /// How many contexts live, nested ones included: as many as [`contexts`](Self::contexts) would list, without the
    /// walk.
    ///
    /// ```
    /// use logcontext::Supervisor;
    ///
    /// let service = Supervisor::new("presence");
    /// let request = service.context("GET-1").start();
    /// let lookup = request.nested("lookup");
    /// assert_eq!(service.live_contexts(), 2);
    /// drop((lookup, request));
    /// assert_eq!(service.live_contexts(), 0);
    /// ```
    pub fn live_contexts(&self) -> usize {
        self.0.ledger.live()
    }

    /// What the contexts of each label have cost, those that live and those that are gone.
    ///
    /// ```
    /// use logcontext::Supervisor;
    ///
    /// let service = Supervisor::new("presence");
    /// let request = service.context("GET-1").label("GET /presence/{user}").start();
    /// request.finish();
    /// let totals = service.totals();
    /// assert_eq!(totals[0].label.as_deref(), Some("GET /presence/{user}"));
    /// assert_eq!((totals[0].started, totals[0].in_flight, totals[0].ok), (1, 0, 1));
    /// ```
    pub fn totals(&self) -> Vec<LabelTotals> {
        meter::settle();
        let mut open: FxHashMap<u64, i64> = FxHashMap::default();
        for (context, nanos) in meter::read_threads().open {
            *open.entry(context).or_default() += nanos;
        }
        open.retain(|context, nanos| *context != 0 && *nanos > 0);
        self.0.ledger.totals(&open)
    }

    /// The number of the next request: 1, 2, ..
    pub fn next_request(&self) -> u64 {
        self.0.requests.fetch_add(1, Relaxed) + 1
    }

    /// The number of the next connection: 1, 2, ..
    pub fn next_connection(&self) -> u64 {
        self.0.connections.fetch_add(1, Relaxed) + 1
    }

    /// How many faults of this kind there were.
    pub fn diagnostics(&self, kind: DiagnosticKind) -> u64 {
        self.0.diagnostics.count(kind)
    }

    /// How many panics were reported in its contexts: each once, by the panic hook that calls
    /// [`report_panic`](crate::report_panic), or else by whoever caught it.
    ///
    /// ```
    /// use logcontext::{Supervisor, catch_panic};
    ///
    /// let service = Supervisor::new("presence");
    /// service.context("GET-1").start().scope(|| {
    ///     let mut panic = catch_panic(|| { if true { panic!("no") } }).unwrap_err();
    ///     panic.report();
    ///     panic.report();
    /// });
    /// assert_eq!(service.panics(), 1);
    /// ```
    pub fn panics(&self) -> u64 {
        self.0.panics.load(Relaxed)
    }

    pub(crate) fn count_panic(&self) {
        self.0.panics.fetch_add(1, Relaxed);
    }

    /// Calls `hook` for every fault from now on, on the thread on which it is noticed.
    pub fn on_diagnostic(&self, hook: impl Fn(&Report) + Send + Sync + 'static) {
        self.0.diagnostics.add_hook(Arc::new(hook));
    }

    /// How often a poll kept an executor for longer than the limit.
    pub fn slow_polls(&self) -> SlowPolls {
        self.0.stuck.slow_polls()
    }

    /// How long a poll may take before it is reported: 100 ms unless told otherwise, at least 1 ms.
    pub fn set_slow_poll_limit(&self, limit: Duration) {
        self.0.stuck.set_limit(limit);
    }

    /// Registers a source of figures. It is forgotten when its last handle is dropped.
    pub fn register(&self, source: &Arc<dyn Source>) {
        let mut sources = lock(&self.0.sources);
        sources.retain(|source| source.strong_count() > 0);
        sources.push(Arc::downgrade(source));
    }

    /// The sources that are registered.
    pub fn sources(&self) -> Vec<Arc<dyn Source>> {
        lock(&self.0.sources).iter().filter_map(Weak::upgrade).collect()
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    pub(crate) fn names(&self) -> &Mutex<Vec<(&'static str, Arc<str>)>> {
        &self.0.names
    }

    pub(crate) fn faults(&self) -> &Diagnostics {
        &self.0.diagnostics
    }

    pub(crate) fn stuck(&self) -> &Stuck {
        &self.0.stuck
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn running_list(&self) -> &crate::running::RunningList {
        &self.0.running
    }
}

/// Equal if they are the same one.
impl PartialEq for Supervisor {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Supervisor {}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supervisor({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_is_just_going_is_still_in_the_books() {
        const CHARGED: u64 = 1_000_000_000;
        let _test = crate::testing::start();
        for round in 1..=200 {
            let services = ["one", "two"].map(Supervisor::new);
            for service in &services {
                service.context("all it does").start().inner().unwrap().charge_cpu(CHARGED, 0);
            }
            let going = services.each_ref().map(|service| Arc::downgrade(&service.0));
            let all = lock(&ALL);
            let read = std::thread::scope(|threads| {
                #[expect(clippy::disallowed_methods, reason = "they need no context of their caller")]
                {
                    for service in services {
                        threads.spawn(move || drop(service));
                    }
                    while going.iter().any(|service| service.strong_count() > 0) {
                        std::thread::yield_now();
                    }
                    let reader = threads.spawn(root_cpu);
                    // Who of them comes first is left to chance.
                    drop(all);
                    reader.join()
                }
            });
            assert!(read.unwrap() >= 2 * round * CHARGED, "in round {round}");
        }
    }
}

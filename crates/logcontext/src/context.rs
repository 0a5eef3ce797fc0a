//! [`LogContext`]: a handle to one request or one background process.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::diagnostics::{DiagnosticKind, Report};
use crate::kind::{ContextKind, Ending};
use crate::ledger::{self, Account, AccountRef};
use crate::meter;
use crate::remote::RemoteUsage;
use crate::request::Request;
use crate::small_str::SmallStr;
use crate::supervisor::Supervisor;
use crate::usage::{Counter, ResourceUsage};

/// A handle to one request, one background process, or a part of one: what log lines are found by and costs
/// are charged to. One pointer wide, cheap to clone; all clones are the same context.
///
/// The idea and most words are Matrix Synapse's (`synapse.logging.context`).
///
/// ```
/// use logcontext::{LogContext, current_context};
///
/// let ctx = LogContext::new("import");
/// ctx.scope(|| {
///     assert_eq!(current_context().name(), "import");
///     // log lines written here say `import`, and the CPU burned here is charged to it
/// });
/// assert!(current_context().is_sentinel());
/// let usage = ctx.finish();
/// assert!(usage.cpu() > Some(std::time::Duration::ZERO) || usage.cpu().is_none());
/// ```
#[derive(Clone, Default)]
#[doc(alias = "LoggingContext")]
pub struct LogContext(Option<Arc<Inner>>);

pub(crate) struct Inner {
    id: u64,
    account: AccountRef,
    kind: ContextKind,
    depth: u8,
    parent: LogContext,
    supervisor: Supervisor,
    name: SmallStr,
    request: Option<Arc<Request>>,
    origin: &'static Location<'static>,
    /// The context that started this one, where that is not its parent.
    starter: Option<Box<str>>,
}

impl Inner {
    /// Charges the context and all its ancestors, each once.
    #[inline]
    pub(crate) fn charge_cpu(&self, nanos: u64, system: u64) {
        self.account.get().charge_cpu(nanos, system);
        let mut parent = self.parent.inner();
        while let Some(ancestor) = parent {
            ancestor.account.get().charge_cpu(nanos, system);
            parent = ancestor.parent.inner();
        }
    }

    pub(crate) fn with_ancestors(&self, mut f: impl FnMut(&Account)) {
        let mut inner = Some(self);
        while let Some(this) = inner {
            f(this.account.get());
            inner = this.parent.inner();
        }
    }

    fn is_root(&self) -> bool {
        self.parent.is_sentinel()
    }

    pub(crate) fn root(&self) -> &Self {
        let mut root = self;
        while let Some(parent) = root.parent.inner() {
            root = parent;
        }
        root
    }

    pub(crate) fn account(&self) -> &Account {
        self.account.get()
    }

    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.supervisor.ledger().close(&self.account);
    }
}

impl LogContext {
    /// A context of its own with this name, in the current context's supervisor.
    ///
    /// A name says which one it is, a label says what to total it by; this one has no label. Requests are made
    /// with [`builder`](Self::builder), background processes with `background::run`.
    #[track_caller]
    pub fn new(name: impl Into<SmallStr>) -> Self {
        Self::builder(name).start()
    }

    /// A context with more than a name.
    ///
    /// ```
    /// use logcontext::{ContextKind, LogContext, Request};
    ///
    /// let ctx = LogContext::builder("GET-17")
    ///     .kind(ContextKind::Request)
    ///     .label("GET /presence/{user}")
    ///     .request(Request::new("GET", "/presence/alice"))
    ///     .start();
    /// assert_eq!(ctx.label().as_deref(), Some("GET /presence/{user}"));
    /// assert_eq!(ctx.request().unwrap().path(), "/presence/alice");
    /// ```
    #[track_caller]
    pub fn builder(name: impl Into<SmallStr>) -> ContextBuilder {
        ContextBuilder {
            name: name.into(),
            kind: ContextKind::Task,
            depth: None,
            label: None,
            request: None,
            supervisor: None,
            starter: None,
            origin: Location::caller(),
        }
    }

    /// The context of code that runs for no one: an executor between two polls, a thread before its first
    /// work. It keeps no figures but what the books need. Cloning it costs nothing.
    #[doc(alias = "SENTINEL_CONTEXT")]
    pub const fn sentinel() -> Self {
        Self(None)
    }

    /// Is this the sentinel?
    #[inline]
    pub const fn is_sentinel(&self) -> bool {
        self.0.is_none()
    }

    /// A part of this context with a name of its own: `GET-17-lookup`. It inherits the request, the label and
    /// the supervisor. What it costs counts for it, for this context and for all above, once each, however it
    /// is entered.
    ///
    /// From the sentinel there is nothing to be a part of: that raises a diagnostic, and makes a context of its
    /// own called `sentinel-lookup`.
    ///
    /// ```
    /// use logcontext::LogContext;
    ///
    /// let request = LogContext::new("GET-17");
    /// let lookup = request.nested("lookup");
    /// assert_eq!(lookup.name(), "GET-17-lookup");
    /// lookup.record_db_transaction(std::time::Duration::from_millis(2));
    /// assert_eq!(request.usage().db_txn_count, 1);
    /// ```
    #[track_caller]
    #[doc(alias = "nested_logging_context")]
    pub fn nested(&self, suffix: &str) -> Self {
        self.part(ContextKind::Nested, suffix, None)
    }

    #[track_caller]
    pub(crate) fn part(&self, kind: ContextKind, suffix: &str, label: Option<&str>) -> Self {
        let origin = Location::caller();
        let name = SmallStr::joined(self.name(), suffix);
        let Some(inner) = self.inner() else {
            Report::new(DiagnosticKind::NestedFromSentinel, self).origin(origin).detail(&name).raise();
            return ContextBuilder { origin, ..Self::builder(name) }.start();
        };
        let supervisor = inner.supervisor.clone();
        let label = match label {
            Some(name) => Some(supervisor.ledger().labels.named(kind, name).index),
            None => inner.account().label(),
        };
        Self::make(supervisor, kind, label, |id, account, supervisor| Inner {
            id,
            account,
            kind,
            depth: inner.depth,
            parent: self.clone(),
            supervisor,
            name,
            request: inner.request.clone(),
            origin,
            starter: None,
        })
    }

    fn make(
        supervisor: Supervisor,
        kind: ContextKind,
        label: Option<usize>,
        inner: impl FnOnce(u64, AccountRef, Supervisor) -> Inner,
    ) -> Self {
        let id = next_id();
        let keeper = supervisor.clone();
        Self(Some(keeper.ledger().open(id, kind, label, |account| Arc::new(inner(id, account, supervisor)))))
    }

    /// The name: `GET-17`, `prune_history-3`, `sentinel`.
    pub fn name(&self) -> &str {
        self.inner().map_or("sentinel", |inner| &inner.name)
    }

    /// What it is totalled by, once that is known.
    pub fn label(&self) -> Option<&str> {
        let inner = self.inner()?;
        let index = inner.account().label().or_else(|| inner.root().account().label())?;
        Some(&inner.supervisor.ledger().labels.get(index)?.name)
    }

    /// Says what to total it by, with all it has cost so far. Once: answers whether this was the first to say
    /// so. A supervisor knows 1,000 labels of a kind; what is labelled otherwise later is totalled as `other`.
    pub fn set_label(&self, label: &str) -> bool {
        let Some(inner) = self.inner() else { return false };
        let index = inner.supervisor.ledger().labels.named(inner.kind, label).index;
        inner.account().set_label(index)
    }

    /// Says what its work was answered with: an HTTP status, 100 to 599, which its label's totals count by class
    /// ([`LabelTotals::responses`](crate::LabelTotals::responses)). The last one before the finish counts; anything
    /// else takes back what was said before. The sentinel keeps nothing, and a nested context has no totals.
    ///
    /// ```
    /// use logcontext::Supervisor;
    ///
    /// let service = Supervisor::new("presence");
    /// let request = service.context("GET-1").label("GET /presence/{user}").start();
    /// request.set_status(200);
    /// request.finish();
    /// request.set_status(500); // too late
    /// let answered = |class| service.totals()[0].responses().find(|(name, _)| *name == class).unwrap().1;
    /// assert_eq!((answered("2xx"), answered("5xx")), (1, 0));
    /// ```
    pub fn set_status(&self, status: u16) {
        if let Some(inner) = self.inner() {
            inner.account().set_status(status);
        }
    }

    /// The request that it stands for, or is a part of.
    pub fn request(&self) -> Option<&Request> {
        self.inner()?.request.as_deref()
    }

    /// The id to find the request by: the request's own, or the name of the context that stands for it. `None`
    /// outside any request.
    pub fn request_id(&self) -> Option<&str> {
        let inner = self.inner()?;
        inner.request.as_ref()?.own_id().or_else(|| Some(&inner.root().name))
    }

    /// What it stands for; the sentinel is a [`ContextKind::Task`].
    pub fn kind(&self) -> ContextKind {
        self.inner().map_or(ContextKind::Task, |inner| inner.kind)
    }

    /// The context that it is a part of; the sentinel for all others.
    pub fn parent(&self) -> Self {
        self.inner().map(|inner| inner.parent.clone()).unwrap_or_default()
    }

    /// Where it was made; `None` for the sentinel.
    pub fn origin(&self) -> Option<&'static Location<'static>> {
        self.inner().map(|inner| inner.origin)
    }

    /// The name of the context that started it, if it was started from one that does not pay for it.
    pub fn started_by(&self) -> Option<&str> {
        self.inner()?.starter.as_deref()
    }

    /// How many handlers of calls wait for what is done in it, each for the next: 0 where no message has led to it. Its
    /// parts and what it starts inherit it.
    pub fn call_depth(&self) -> u8 {
        self.inner().map_or(0, |inner| inner.depth)
    }

    /// The supervisor that it belongs to; the default one for the sentinel.
    pub fn supervisor(&self) -> Supervisor {
        self.inner().map_or_else(Supervisor::ambient, |inner| inner.supervisor.clone())
    }

    /// What it has cost so far, nested contexts included. Where it is the current context, up to now; what is
    /// running elsewhere meanwhile counts up to its last switch. Zero for the sentinel: see `books()`.
    pub fn usage(&self) -> ResourceUsage {
        let Some(inner) = self.inner() else { return ResourceUsage::default() };
        self.settle();
        inner.account().usage()
    }

    /// CPU time that was charged after it had finished: by followers, or late.
    pub fn cpu_after_finish(&self) -> Option<Duration> {
        meter::cpu_is_measured().then(|| {
            self.inner()
                .map_or(Duration::ZERO, |inner| Duration::from_nanos(inner.account().cpu_after_finish()))
        })
    }

    /// Marks it finished, and answers what it has cost. Followers go on and are counted as after its finish;
    /// whatever else enters it from now on is charged, and reported once. Only the first call marks.
    pub fn finish(&self) -> ResourceUsage {
        let usage = self.usage();
        self.mark_finished(Ending::Ok);
        usage
    }

    /// The same, saying how it ended, for those who do not ask what it has cost.
    pub fn finish_as(&self, ending: Ending) {
        self.settle();
        self.mark_finished(ending);
    }

    /// Charges the open slice, if any of it is this context's.
    #[inline]
    fn settle(&self) {
        if meter::peek(|current| current.is_family_of(self)) {
            meter::settle();
        }
    }

    fn mark_finished(&self, ending: Ending) {
        if let Some(inner) = self.inner() {
            inner.account().finish(ending);
        }
    }

    /// Has it finished?
    pub fn is_finished(&self) -> bool {
        self.inner().is_some_and(|inner| inner.account().is_finished())
    }

    /// How it ended; `None` while it has not, and for the sentinel.
    pub fn ending(&self) -> Option<Ending> {
        self.inner()?.account().ending()
    }

    /// Time from its start to its finish, or to now.
    pub fn elapsed(&self) -> Duration {
        self.inner().map_or(Duration::ZERO, |inner| inner.account().elapsed())
    }

    /// Has it, or what it is a part of, finished?
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        let mut context = self.inner();
        while let Some(inner) = context {
            if inner.account().is_finished() {
                return true;
            }
            context = inner.parent.inner();
        }
        false
    }

    /// Is the other one this context, or a part of the same root?
    pub(crate) fn is_family_of(&self, other: &Self) -> bool {
        matches!((self.inner(), other.inner()), (Some(a), Some(b)) if a.root().id == b.root().id)
    }

    /// Adds time that was spent waiting for a database connection.
    #[doc(alias = "add_database_scheduled")]
    pub fn record_db_wait(&self, wait: Duration) {
        if let Some(inner) = self.inner() {
            inner.with_ancestors(|account| account.record_db_wait(wait));
        }
    }

    /// Adds time that was spent getting a database connection, where nobody can tell how much of it was waiting: what
    /// [`ResourceUsage::db_wait`] says is then unknown.
    pub fn record_db_acquire(&self, took: Duration) {
        if let Some(inner) = self.inner() {
            inner.with_ancestors(|account| account.record_db_acquire(took));
        }
    }

    /// Counts a database transaction and the time it took. In the sentinel this raises a diagnostic: nobody
    /// would see the cost.
    #[track_caller]
    #[doc(alias = "add_database_transaction")]
    pub fn record_db_transaction(&self, duration: Duration) {
        match self.inner() {
            Some(inner) => inner.with_ancestors(|account| account.record_db_transaction(duration)),
            None => {
                Report::new(DiagnosticKind::TransactionFromSentinel, self).origin(Location::caller()).raise();
            }
        }
    }

    /// Adds what a call has cost elsewhere, or that it is not known: see [`RemoteUsage`]. It stays apart from what was
    /// done here. The bus and the HTTP client do this for the calls that they make; the sentinel keeps nothing.
    ///
    /// ```
    /// use logcontext::{LogContext, RemoteUsage};
    /// use std::time::Duration;
    ///
    /// let request = LogContext::new("GET-17");
    /// let answer = RemoteUsage::call().with_cpu(Duration::from_millis(3));
    /// request.record_remote(&answer.or_unknown());
    /// assert_eq!(request.usage().remote().cpu(), Some(Duration::from_millis(3)));
    /// ```
    pub fn record_remote(&self, usage: &RemoteUsage) {
        if let Some(inner) = self.inner() {
            inner.with_ancestors(|account| account.record_remote(usage));
        }
    }

    /// Adds to a counter of the service's own.
    #[doc(alias = "record_event_fetch")]
    pub fn add(&self, counter: &Counter, n: u64) {
        if let Some(inner) = self.inner() {
            inner.with_ancestors(|account| account.count(counter, n));
        }
    }

    /// Charges CPU that was burned for this context on a thread that knows no contexts: a database driver's,
    /// for one. The caller must have measured it, and says it once; the books show it apart, for the thread
    /// that burned it has it as well.
    pub fn charge_cpu(&self, cpu: Duration) {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        if let Some(inner) = self.inner() {
            inner.charge_cpu(nanos, 0);
            crate::books::charged_by_adapter(nanos);
        }
    }

    /// Takes the times off this context (CPU, database, remote) and charges them to these in equal parts, the odd nanoseconds
    /// to the first; counts stay. For work that was done for several, when it is known who they are. What has
    /// ancestors among these counts for them as well, as always; the sentinel keeps nothing.
    ///
    /// Only for a context that is no part of another and has no label yet, as sums only ever grow; label it afterwards,
    /// and its counts have a place. Answers whether it was done: not if there is nobody to charge.
    ///
    /// ```
    /// use logcontext::LogContext;
    /// use std::time::Duration;
    ///
    /// let (lookup, a, b) = (LogContext::new("lookup"), LogContext::new("GET-1"), LogContext::new("GET-2"));
    /// lookup.record_db_transaction(Duration::from_nanos(2_001));
    /// assert!(lookup.split_times(&[a.clone(), b.clone()]));
    /// assert_eq!(a.usage().db_txn_duration, Duration::from_nanos(1_001));
    /// assert_eq!(b.usage().db_txn_duration, Duration::from_nanos(1_000));
    /// assert_eq!((lookup.usage().db_txn_duration, lookup.usage().db_txn_count), (Duration::ZERO, 1));
    /// ```
    pub fn split_times(&self, among: &[Self]) -> bool {
        let Some(inner) = self.inner() else { return false };
        let payers: Vec<&Inner> = among.iter().filter_map(Self::inner).collect();
        if payers.is_empty() || !inner.is_root() || inner.account().label().is_some() {
            return false;
        }
        if meter::current_id() != 0 {
            meter::settle();
        }
        // Whoever reads the books finds the times in one place.
        let mut moving = ledger::moving();
        let times = moving.take(inner.supervisor.ledger(), &inner.account);
        for (index, payer) in payers.iter().enumerate() {
            let share = times.share(index, payers.len());
            let mut next = Some(*payer);
            while let Some(payer) = next {
                moving.give(payer.supervisor.ledger(), &payer.account, &share);
                next = payer.parent.inner();
            }
        }
        true
    }

    #[inline]
    pub(crate) fn inner(&self) -> Option<&Inner> {
        self.0.as_deref()
    }

    pub(crate) fn from_inner(inner: Arc<Inner>) -> Self {
        Self(Some(inner))
    }

    #[inline]
    pub(crate) fn id(&self) -> u64 {
        self.inner().map_or(0, |inner| inner.id)
    }
}

/// Two handles are equal if they are of the same context.
impl PartialEq for LogContext {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for LogContext {}

/// The name.
impl fmt::Display for LogContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for LogContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogContext({})", self.name())
    }
}

/// A context in the making: see [`LogContext::builder`].
#[derive(Debug)]
#[must_use = "a context is made by `start()`"]
pub struct ContextBuilder {
    name: SmallStr,
    kind: ContextKind,
    depth: Option<u8>,
    label: Option<usize>,
    request: Option<Arc<Request>>,
    supervisor: Option<Supervisor>,
    starter: Option<Box<str>>,
    origin: &'static Location<'static>,
}

impl ContextBuilder {
    /// What it stands for. Say so before the label, which is one of that kind.
    pub fn kind(mut self, kind: ContextKind) -> Self {
        // Parts are made by their whole: `nested`, `measure`.
        self.kind = if kind.is_nested() { ContextKind::Task } else { kind };
        self
    }

    /// The supervisor it belongs to, if not the current context's. Say so before the label.
    pub fn supervisor(mut self, supervisor: &Supervisor) -> Self {
        self.supervisor = Some(supervisor.clone());
        self
    }

    /// What to total it by: see [`LogContext::set_label`].
    pub fn label(mut self, label: &str) -> Self {
        let supervisor = self.supervisor.take().unwrap_or_else(Supervisor::current);
        self.label = Some(supervisor.ledger().labels.named(self.kind, label).index);
        self.supervisor = Some(supervisor);
        self
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn label_index(mut self, label: usize) -> Self {
        self.label = Some(label);
        self
    }

    /// The request that it stands for.
    pub fn request(mut self, request: impl Into<Arc<Request>>) -> Self {
        self.request = Some(request.into());
        self
    }

    /// The context that started it, which does not pay for it: a request's connection, what set off a process.
    /// It is linked by name; the sentinel is nobody.
    ///
    /// ```
    /// use logcontext::LogContext;
    ///
    /// let connection = LogContext::new("connection-3");
    /// let request = LogContext::builder("GET-17").started_by(&connection).start();
    /// assert_eq!(request.started_by(), Some("connection-3"));
    /// ```
    pub fn started_by(mut self, starter: &LogContext) -> Self {
        self.starter = (!starter.is_sentinel()).then(|| starter.name().into());
        self.depth = self.depth.or(Some(starter.call_depth()));
        self
    }

    /// The same where only its name is known: it is in another process, and a message has come from there.
    ///
    /// ```
    /// use logcontext::LogContext;
    ///
    /// let handler = LogContext::builder("presence.changed-sender-812").started_by_name("GET-17").start();
    /// assert_eq!(handler.started_by(), Some("GET-17"));
    /// ```
    pub fn started_by_name(mut self, starter: impl Into<Box<str>>) -> Self {
        self.starter = Some(starter.into());
        self
    }

    /// How many handlers of calls wait for what is done in it: see [`LogContext::call_depth`]. Said by whoever runs a
    /// handler; everybody else's is that of the context that starts it.
    ///
    /// ```
    /// use logcontext::LogContext;
    ///
    /// let handler = LogContext::builder("presence.get-3").call_depth(2).start();
    /// assert_eq!(handler.nested("lookup").call_depth(), 2);
    /// ```
    pub fn call_depth(mut self, depth: u8) -> Self {
        self.depth = Some(depth);
        self
    }

    /// The place that it was started from, if not where the builder was made.
    pub fn origin(mut self, origin: &'static Location<'static>) -> Self {
        self.origin = origin;
        self
    }

    /// Makes the context. Nothing is entered yet.
    pub fn start(self) -> LogContext {
        let supervisor = self.supervisor.unwrap_or_else(Supervisor::current);
        let depth = self.depth.unwrap_or_else(|| meter::peek(LogContext::call_depth));
        LogContext::make(supervisor, self.kind, self.label, |id, account, supervisor| Inner {
            id,
            account,
            kind: self.kind,
            depth,
            parent: LogContext::sentinel(),
            supervisor,
            name: self.name,
            request: self.request,
            origin: self.origin,
            starter: self.starter,
        })
    }
}

/// Ids are never used again, so that comparing two never confuses a context with one that is gone. Threads take
/// them in blocks.
fn next_id() -> u64 {
    const BLOCK: u64 = 1_024;
    static NEXT_BLOCK: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    NEXT.with(|next| {
        let mut id = next.get();
        if id % BLOCK == 0 {
            // 0 is the sentinel's: blocks begin at 1.
            id = NEXT_BLOCK.fetch_add(1, Relaxed) * BLOCK + 1;
        }
        next.set(id + 1);
        id
    })
}

/// Bytes that a live context takes, its entry in the table included, its name and its request apart.
#[doc(hidden)]
pub fn context_bytes() -> usize {
    // An Arc has two counters before its value; the table holds a weak handle for each.
    let handle = 2 * size_of::<usize>() + size_of::<Inner>();
    handle + size_of::<Account>() + size_of::<std::sync::Weak<Inner>>() + size_of::<u32>()
}

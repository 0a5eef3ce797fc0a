//! [`ContextSpans`]: contexts that ride on tracing's spans.

mod config;
mod fields;
mod gate;
mod layer;
mod root;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use logcontext::Supervisor;
use tracing::Metadata;

use config::{Config, Roots};
pub use fields::SpanField;
pub(crate) use gate::Gate;

/// A layer that lets contexts ride on spans: for services that use tracing's spans already.
///
/// - **A span carries the context it is made in.** Who enters the span on another thread (a task that was
///   instrumented with it, a driver's thread, a thread pool) is in that context, and is charged to it.
/// - **A root span is a context of its own**, from its making until it is closed: named after its method and
///   number (`GET-17`) if it stands for a request, else after itself (`import-3`). Its fields make the
///   [`Request`](logcontext::Request) and the label: see [`SpanField`]. [`Supervisor::totals`] has the cost per
///   label.
/// - **A span hijacks nobody.** Entering it enters its context only where the thread is in the sentinel. In another
///   context it does so only if it was made with the field `logcontext.enter = true`.
/// - **Spans are left in any order.** No context stays behind.
///
/// The context is the master and the span only carries it: [`in_context`](logcontext::FutureExt::in_context) enters
/// no span, and inside of it a span changes nothing.
///
/// ```
/// use logcontext::{Supervisor, current_context};
/// use logcontext_tracing::ContextSpans;
/// use tracing_subscriber::prelude::*;
///
/// let service = Supervisor::new("presence");
/// let spans = ContextSpans::new().supervisor(&service);
/// let _default = tracing_subscriber::registry().with(spans).set_default();
///
/// let span = tracing::info_span!("request", method = "GET", uri = "/presence/alice?key=1", "http.route" = "/presence/{user}");
/// span.in_scope(|| {
///     let request = current_context();
///     assert_eq!(request.name(), "GET-1");
///     assert_eq!(request.label().as_deref(), Some("GET /presence/{user}"));
///     assert_eq!(request.request().unwrap().path(), "/presence/alice");
/// });
/// assert!(current_context().is_sentinel());
/// drop(span); // closed: the request is finished, with all it has cost
/// assert_eq!(service.totals()[0].ok, 1);
/// ```
///
/// **Which spans are roots.** Those that are made in the sentinel and whose parent, if any, carries no context. Of
/// these the ones at `INFO` and above become contexts, and at any level those that stand for a request, which have
/// a field for its method. [`roots`](Self::roots) is for another rule.
///
/// **Filters.** A span that a filter has disabled is none: it carries nothing, and those made in it are roots.
/// [`Builder::contexts_on_spans`](crate::Builder::contexts_on_spans) lets spans that may become contexts through
/// its own filter. In a subscriber of your own, see to it that the filter does: tower-http's `request` is at
/// `DEBUG`.
///
/// **Late work.** Who holds a span is a follower of its context: what is done in the span after the context has
/// finished is charged, counted as after its finish, and raises no diagnostic. A root span's own context cannot be
/// over before the span is closed, unless somebody calls `finish`.
///
/// **A span's guard that is held across an `.await`** is a mistake in plain tracing already. At the end of a poll in a
/// context, its context is left and a `guard_across_await` is raised, with the span's place in the code. In a
/// task that is in no context, only [`expect_sentinel`](logcontext::expect_sentinel) notices it, where the worker
/// parks.
pub struct ContextSpans {
    config: Arc<Config>,
    /// Tells its spans from those of other subscribers, which may have the same numbers.
    keeper: u64,
    /// Some span has asked to be entered anywhere. Until then, entering one inside a context needs no look at it.
    asked: AtomicBool,
    /// Numbers the contexts that are no requests.
    next: AtomicU64,
}

impl Default for ContextSpans {
    fn default() -> Self {
        Self::new()
    }
}

impl ContextSpans {
    /// The layer as described above.
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            config: Arc::default(),
            keeper: NEXT.fetch_add(1, Relaxed),
            asked: AtomicBool::new(false),
            next: AtomicU64::new(1),
        }
    }

    /// Which root spans become contexts, by target, name, level and names of fields: those for which `rule` answers
    /// true.
    ///
    /// ```
    /// use logcontext::current_context;
    /// use logcontext_tracing::ContextSpans;
    /// use tracing_subscriber::prelude::*;
    ///
    /// let spans = ContextSpans::new().roots(|span| ContextSpans::is_request(span) || span.name() == "import");
    /// let _default = tracing_subscriber::registry().with(spans).set_default();
    /// tracing::debug_span!("import").in_scope(|| assert_eq!(current_context().name(), "import-1"));
    /// tracing::info_span!("startup").in_scope(|| assert!(current_context().is_sentinel()));
    /// ```
    #[must_use]
    pub fn roots(mut self, rule: impl Fn(&Metadata<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.config_mut().roots = Roots::Rule(Box::new(rule));
        self
    }

    /// No span becomes a context: they only carry those that are there. For services with a
    /// `logcontext_http::ContextLayer`.
    #[must_use]
    pub fn carry_only(mut self) -> Self {
        self.config_mut().roots = Roots::None;
        self
    }

    /// A field of this name says this of a root span, besides the usual ones: see [`SpanField`].
    ///
    /// ```
    /// use logcontext::current_context;
    /// use logcontext_tracing::{ContextSpans, SpanField};
    /// use tracing_subscriber::prelude::*;
    ///
    /// let spans = ContextSpans::new().field(SpanField::Label, "job");
    /// let _default = tracing_subscriber::registry().with(spans).set_default();
    /// tracing::info_span!("run", job = "prune_cache")
    ///     .in_scope(|| assert_eq!(current_context().label().as_deref(), Some("prune_cache")));
    /// ```
    #[must_use]
    pub fn field(mut self, says: SpanField, name: impl Into<Box<str>>) -> Self {
        self.config_mut().fields.push((name.into(), says));
        self
    }

    /// The supervisor of the contexts that root spans become, if not that of the thread they are made on.
    #[must_use]
    pub fn supervisor(mut self, supervisor: &Supervisor) -> Self {
        self.config_mut().supervisor = Some(supervisor.clone());
        self
    }

    /// Whether a root span that is closed logs what it has cost, at info level with the target `logcontext::span`:
    /// no, unless told otherwise.
    #[must_use]
    pub fn log_costs(mut self, log: bool) -> Self {
        self.config_mut().log_costs = log;
        self
    }

    /// Does a span of this kind stand for a request? It does if it has one of the usual fields for a method:
    /// `http.request.method`, `http.method`, `method`.
    pub fn is_request(metadata: &Metadata<'_>) -> bool {
        fields::has_method(metadata)
    }

    fn config_mut(&mut self) -> &mut Config {
        Arc::get_mut(&mut self.config).expect("not shared before it is a layer")
    }

    /// Lets through what `filter` does, and the spans that may become contexts.
    pub(crate) fn gate(&self, filter: tracing_subscriber::filter::Targets) -> Gate {
        Gate::new(filter, Some(Arc::clone(&self.config)))
    }
}

impl fmt::Debug for ContextSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextSpans").field("config", &self.config).finish_non_exhaustive()
    }
}

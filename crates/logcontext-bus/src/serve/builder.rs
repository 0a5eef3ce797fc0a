//! Beginning to serve, and ending it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;

use logcontext::background;
use logcontext::source::Source;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answerer::{Answerer, Shape};
use super::examine::Rules;
use super::figures::Figures;
use super::receive::{Calls, receive};
use super::server::{Name, Senders, Server};
use crate::bus::{Bus, Inner};
use crate::error::ServeError;
use crate::message::HeadPrefix;
use crate::name;
use crate::rpc::Rpc;
use crate::schema::{Sharing, of_rpc};
use crate::transport::{self, TransportError};
use crate::within::{waiting, within};

/// Unless told otherwise.
const SLOTS: usize = 64;

/// An RPC that is about to be served: [`start`](Self::start) it, or await it.
#[must_use = "nothing is served before it is started"]
pub struct Serve {
    bus: Bus,
    name: &'static str,
    slots: usize,
    begin: Box<dyn FnOnce(Begin) + Send>,
}

/// What it takes to begin.
struct Begin {
    inner: Arc<Inner>,
    figures: Arc<Figures>,
    calls: Calls,
    serving: Arc<dyn transport::Serving>,
    name: Name,
    stop: Stop,
}

impl Serve {
    #[track_caller]
    pub(super) fn new<R: Rpc, A: Answerer>(bus: &Bus, answerer: impl FnOnce(Shape<R>) -> A) -> Self {
        let (inner, origin) = (bus.inner(), Location::caller());
        let answerer = answerer(Shape::new(&inner.checks, inner.config.max_message));
        let begin = move |begin: Begin| {
            let Begin { inner, figures, calls, serving, name, stop } = begin;
            let config = &inner.config;
            let rules = Rules {
                rpc: R::NAME,
                version: R::VERSION,
                prefix: HeadPrefix::new(R::NAME, R::VERSION),
                max_message: config.max_message,
                max_depth: inner.max_depth(),
            };
            let server = Server {
                process: background::process(&inner.supervisor, R::NAME).origin(origin),
                answerer: Arc::new(answerer),
                figures,
                rules,
                max_nested: config.max_nested,
                senders: Senders::default(),
                inner: Arc::clone(&inner),
            };
            let lasting =
                background::process(&inner.supervisor, &format!("{}-server", R::NAME)).origin(origin);
            let _entered = inner.runtime.enter();
            Sharing::tell(&inner, format!("rpc {}", R::NAME), of_rpc::<R>());
            drop(lasting.run(|context| context.call_depth(0), receive(server, calls, serving, stop, name)));
        };
        Self { bus: bus.clone(), name: R::NAME, slots: SLOTS, begin: Box::new(begin) }
    }

    /// So many calls that no handler waits for are handled at once, on this bus: 64 unless told otherwise. What comes
    /// beyond that waits at the broker, for this bus or another. Calls from handlers need no slot.
    #[doc(alias = "concurrency")]
    pub fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    /// Begins to serve: completes once callers find it. It goes on when the handle is dropped, until the service shuts
    /// down: then it takes no more but from handlers that are under way, and is over when there are none.
    ///
    /// # Errors
    /// If it cannot be served, or not within the time of the [configuration](crate::BusConfig::start_timeout).
    pub async fn start(self) -> Result<Served, ServeError> {
        let Self { bus, name, slots, begin } = self;
        let inner = Arc::clone(bus.inner());
        name::check("a call", name)?;
        if !(1..=Semaphore::MAX_PERMITS).contains(&slots) {
            return Err(ServeError::Setting(format!("slots is {slots}: expected at least 1")));
        }
        if inner.supervisor.is_shutting_down() {
            return Err(ServeError::ShuttingDown);
        }
        let taken = inner.serving.take(name).ok_or(ServeError::Taken(name))?;
        let figures = Arc::new(Figures::new(&inner.config.service, name, slots));
        let (tell, incoming) = mpsc::unbounded_channel();
        let wish = transport::Serve { rpc: name.into(), slots: Arc::clone(&figures.slots), calls: tell };
        let calls = Calls { incoming, inner: Arc::clone(&inner), figures: Arc::clone(&figures) };
        let after = inner.config.start_timeout;
        let serving = match within(&inner.runtime, after, inner.transport.calls().serve(wish)).await {
            Some(Ok(serving)) => serving,
            Some(Err(TransportError::Refused(why))) => return Err(ServeError::Refused(why)),
            Some(Err(TransportError::Closed)) => return Err(ServeError::Closed),
            Some(Err(TransportError::Lost(why))) => {
                return Err(ServeError::Timeout { after, waiting: crate::Waiting::Connection(why) });
            }
            None => return Err(ServeError::Timeout { after, waiting: waiting(&*inner.transport) }),
        };
        let source: Arc<dyn Source> = Arc::clone(&figures) as _;
        inner.supervisor.register(&source);
        let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
        let served = Served { name, stop: stop.clone(), ended: ended.clone() };
        let stop = Stop { asked: stop, _ended: ended.drop_guard() };
        begin(Begin { inner, figures, calls, serving, name: taken, stop });
        Ok(served)
    }
}

impl IntoFuture for Serve {
    type Output = Result<Served, ServeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.start())
    }
}

impl fmt::Debug for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serve").field("rpc", &self.name).field("slots", &self.slots).finish_non_exhaustive()
    }
}

/// An RPC that is served. Dropping this changes nothing for it.
#[derive(Clone, Debug)]
pub struct Served {
    name: &'static str,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Served {
    /// What is served.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Takes no more calls, but those that its own handlers still make; completes when its handlers are done. Others who
    /// serve it get what comes from now on.
    ///
    /// Not for its own handlers: they would wait for themselves.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.ended().await;
    }

    /// Completes when it is served no more: it was stopped, its service has shut down, or the bus was closed.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// What the loop is told to stop by, and what tells of its end.
pub(super) struct Stop {
    asked: CancellationToken,
    _ended: DropGuard,
}

impl Stop {
    pub(super) async fn wait(&self, inner: &Inner) {
        tokio::select! {
            () = self.asked.cancelled() => {}
            () = inner.supervisor.shutting_down() => {}
            () = inner.closing.cancelled() => {}
        }
    }
}

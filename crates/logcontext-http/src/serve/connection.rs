//! One connection: in its context, until its end or the shutdown's.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Acquire, Ordering::Relaxed};
use std::task::{Poll, Waker};

use http::Extensions;
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use logcontext::{ContextKind, Ending, LogContext};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tower_service::Service;

use super::head_timeout::{HeadClock, HeadTimeout};
use super::serving::Serving;
use super::stream::Stream;
use super::{Finish, Server};
use crate::connection::ConnectionInfo;

/// How far the shutdown has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    #[default]
    Serving,
    /// Requests in flight may end; no more are read.
    Draining,
    /// All is cut off.
    Aborting,
}

/// What there is of a connection beside its stream. Dropped in this order: who waits for the end hears of it last.
pub(super) struct Connection {
    finish: Finish,
    cut_off: CutOff,
    info: ConnectionInfo,
    _place: OwnedSemaphorePermit,
    phase: watch::Receiver<Phase>,
    leaves_serving: Arc<AtomicBool>,
}

impl Connection {
    pub(super) fn new(server: &Server, info: ConnectionInfo, place: OwnedSemaphorePermit) -> Self {
        let context = server
            .supervisor
            .context(format!("connection-{}", server.supervisor.next_connection()))
            .kind(ContextKind::Connection)
            .label(&server.options.name)
            .start();
        Self {
            finish: Finish { context, ending: Ending::Cancelled },
            cut_off: CutOff(Some(Arc::clone(&server.aborted))),
            info,
            _place: place,
            phase: server.phase.subscribe(),
            leaves_serving: Arc::clone(&server.leaves_serving),
        }
    }

    pub(super) fn context(&self) -> &LogContext {
        &self.finish.context
    }

    /// The handshake is over.
    #[cfg(feature = "tls")]
    pub(super) fn is_encrypted(&mut self) {
        self.info = self.info.clone().encrypted();
    }

    /// The shutdown has begun.
    #[cfg(feature = "tls")]
    pub(super) async fn draining(&mut self) {
        reached(&mut self.phase, Phase::Draining).await;
    }

    pub(super) fn end(mut self, ending: Ending) {
        self.cut_off.0 = None;
        self.finish.ending = ending;
    }
}

/// Counts a connection that did not come to an end of its own.
struct CutOff(Option<Arc<AtomicUsize>>);

impl Drop for CutOff {
    fn drop(&mut self) {
        if let Some(count) = &self.0
            && !std::thread::panicking()
        {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// Serves the requests of one connection. The connection comes first: it is dropped last, after all that runs on it.
pub(super) async fn drive<I, S, B>(mut connection: Connection, io: I, service: S, mut http: http1::Builder)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let info = connection.info.clone();
    let stream = TokioIo::new(Stream::new(io, info.clone()));
    let clock = HeadClock::new();
    http.timer(clock.clone());
    let head = HeadTimeout::new(clock.clone());
    let service = TowerToHyperService::new(service);
    let (extensions, of) = (with_room(info.clone()), info.clone());
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        clock.has_come();
        of.set_has_body(!request.body().is_end_stream());
        let own = std::mem::replace(request.extensions_mut(), extensions.clone());
        request.extensions_mut().extend(own);
        service.call(request)
    });
    let ending = {
        let http = http.serve_connection(stream, service).with_upgrades();
        let mut serving = pin!(Serving { http, head, info });
        let phase = &mut connection.phase;
        let early = tokio::select! {
            biased;
            ending = serving.as_mut() => Some(ending),
            () = has_begun(&connection.leaves_serving, reached(phase, Phase::Draining)) => None,
        };
        match early {
            Some(ending) => ending,
            None => {
                serving.as_mut().project().http.graceful_shutdown();
                tokio::select! {
                    biased;
                    ending = serving.as_mut() => ending,
                    () = reached(phase, Phase::Aborting) => return,
                }
            }
        }
    };
    connection.end(ending);
}

/// Extensions with this, and with room for what a router adds: a copy has as much. Otherwise one too many of them would
/// have the table made anew, with each request.
fn with_room(info: ConnectionInfo) -> Extensions {
    #[derive(Clone)]
    struct Place<const N: usize>;
    let mut extensions = Extensions::new();
    extensions.insert(Place::<0>);
    extensions.insert(Place::<1>);
    extensions.insert(Place::<2>);
    extensions.insert(Place::<3>);
    extensions.clear();
    extensions.insert(info);
    extensions
}

/// The shutdown's beginning, for who is polled all the time: once it waits, it looks at nothing but a flag, which is
/// set before anybody is woken. To ask the channel takes a lock that all connections share.
async fn has_begun(flag: &AtomicBool, beginning: impl Future<Output = ()>) {
    // A task that has done enough for once would be told to come again, without a place among those who wait.
    let mut beginning = pin!(tokio::task::unconstrained(beginning));
    let mut waits: Option<Waker> = None;
    poll_fn(|cx| {
        if waits.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) && !flag.load(Acquire) {
            return Poll::Pending;
        }
        waits = Some(cx.waker().clone());
        beginning.as_mut().poll(cx)
    })
    .await;
}

async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    let server_is_gone = phase.wait_for(|phase| *phase >= wanted).await.is_err();
    // Somebody has dropped the server. Nobody can tell the end of the shutdown then; that it has begun, is plain.
    if server_is_gone && wanted == Phase::Aborting {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_with_room_have_nothing_but_the_connection() {
        let extensions = with_room(ConnectionInfo::unix()).clone();
        assert_eq!(extensions.len(), 1);
        assert!(extensions.get::<ConnectionInfo>().is_some_and(ConnectionInfo::is_unix));
    }
}

//! Carries calls: a stream for each lane of what is called, a channel for the answers of each bus.

use std::fmt;
use std::sync::Arc;

use redis::cmd;
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use super::command::Then;
use super::queues::Kind;
use super::reading::keep_reading;
use super::server::{self, Server};
use super::shared::Shared;
use super::stopping::Stopping;
use super::{RedisTransport, hearing, scripts};
use crate::transport::{
    CallTransport, Doing, Incoming, Lane, Message, Outgoing, ReplyTo, Serve, Serving, TransportError,
};

impl CallTransport for RedisTransport {
    fn call(&self, call: Outgoing) -> Doing<'_, ()> {
        let shared = &self.shared;
        let Outgoing { rpc, lane, call, message, .. } = call;
        let mut add = cmd("XADD");
        // Who serves it has made the stream.
        add.arg(shared.keys.calls(rpc, lane)).arg("NOMKSTREAM").arg("*");
        add.arg(hearing::caller(&shared.identity, call)).arg(message.to_frame());
        let kind = if lane == Lane::Nested { Kind::NestedCalls } else { Kind::Calls };
        Box::pin(shared.queues.ask(kind, add, move |asker| Then::Call { call, rpc, lane, asker }))
    }

    fn cancel(&self, _: &'static str, _: Lane, call: u64) {
        self.shared.queues.forget(call);
    }

    fn reply(&self, to: ReplyTo, message: Message) -> Doing<'_, bool> {
        let shared = &self.shared;
        let mut publish = cmd("PUBLISH");
        publish.arg(format!("{}{}", shared.keys.replies(), to.client)).arg(hearing::reply(to.call, &message));
        Box::pin(shared.queues.ask(Kind::Replies, publish, Then::Reply))
    }

    fn serve(&self, wish: Serve) -> Doing<'_, Arc<dyn Serving>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Serve { rpc, slots, calls } = wish;
            let cancelled = shared.keys.cancelled(&rpc);
            shared.queues.ask(Kind::Upkeep, cmd("PING"), |asker| Then::Hear(cancelled, asker)).await?;
            let first = Taking::start(&shared, &rpc, Lane::First, Some(slots), calls.clone()).await?;
            let nested = Taking::start(&shared, &rpc, Lane::Nested, None, calls).await?;
            let served = Arc::new(Served { rpc, first, nested, shared });
            served.shared.remember(&served);
            Ok(served as Arc<dyn Serving>)
        })
    }
}

/// What is being served.
pub(super) struct Served {
    rpc: Arc<str>,
    first: Taking,
    nested: Taking,
    shared: Arc<Shared>,
}

/// One lane of it.
struct Taking {
    lane: Lane,
    stopping: Stopping,
    _end: DropGuard,
}

impl Taking {
    async fn start(
        shared: &Arc<Shared>,
        rpc: &str,
        lane: Lane,
        slots: Option<Arc<tokio::sync::Semaphore>>,
        calls: mpsc::UnboundedSender<Incoming>,
    ) -> Result<Self, TransportError> {
        shared.queues.settle(server::serve(shared, rpc, lane)).await?;
        let (stopping, end) = (Stopping::default(), shared.end.child_token());
        let server = Server::new(Arc::clone(shared), rpc, lane, slots, calls, stopping.clone());
        let reading = keep_reading(Arc::clone(shared), stopping.clone(), server);
        shared.spawn("bus_redis_calls", end.clone(), reading);
        Ok(Self { lane, stopping, _end: end.drop_guard() })
    }

    async fn stop(&self, served: &Served) -> Result<(), TransportError> {
        let Served { rpc, shared, .. } = served;
        self.stopping.stop(shared).await?;
        let keys = [shared.keys.calls(rpc, self.lane), shared.keys.servers(rpc, self.lane)];
        let mut unserve = scripts::call(&scripts::UNSERVE, &keys);
        unserve.arg(&*shared.identity).arg(shared.keys.replies());
        shared.queues.finish(unserve).await.map(drop)
    }
}

impl Serving for Served {
    fn stop_first(&self) -> Doing<'_, ()> {
        Box::pin(self.first.stop(self))
    }

    fn stop(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            self.first.stop(self).await?;
            self.nested.stop(self).await
        })
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("rpc", &self.rpc).finish_non_exhaustive()
    }
}

//! Events and calls on their way.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::connection::Connection;
use super::queue::{Became, IfFull, Queue, Sent};
use super::server::Served;
use super::subscribed::Subscribed;
use crate::transport::{
    CallTransport, Doing, EventId, EventTransport, Lane, Message, Outgoing, Publish, ReplyTo, Serve, Serving,
    Subscribe, Subscription, TransportError,
};

impl EventTransport for Connection {
    fn publish(&self, event: Publish) -> Doing<'_, EventId> {
        self.shared.doing(move || {
            let Publish { event, partition, message } = event;
            if partition == crate::transport::DeliveryId::RETRIED {
                return Err(TransportError::Refused(format!("there is no partition {partition}")));
            }
            Ok(self.shared.space.stream(event).publish(partition, message))
        })
    }

    fn subscribe(&self, wish: Subscribe) -> Doing<'_, Arc<dyn Subscription>> {
        self.shared.doing(move || {
            let subscribed = Subscribed::start(&self.shared, wish);
            self.keep_subscribed(&subscribed)?;
            Ok(subscribed as Arc<dyn Subscription>)
        })
    }
}

impl CallTransport for Connection {
    fn call(&self, call: Outgoing) -> Doing<'_, ()> {
        Box::pin(async move {
            self.shared.check()?;
            match self.send(call, IfFull::Waits) {
                (Some(queue), Became::Outside(ticket, is_in)) => {
                    Place { queue, ticket, is_in: Some(is_in) }.get().await
                }
                _ => Ok(()),
            }
        })
    }

    fn try_call(&self, call: Outgoing) -> Result<Result<(), TransportError>, Outgoing> {
        if let Err(closed) = self.shared.check() {
            return Ok(Err(closed));
        }
        match self.send(call, IfFull::Goes) {
            (_, Became::Full(call)) => Err(call),
            _ => Ok(Ok(())),
        }
    }

    fn cancel(&self, rpc: &'static str, _: Lane, call: u64) {
        if let Some(queue) = self.shared.space.queues.get(rpc) {
            queue.cancel(&self.shared.client.reply_to(call));
        }
    }

    fn reply(&self, to: ReplyTo, message: Message) -> Doing<'_, bool> {
        self.shared.doing(move || Ok(self.answer(&to, message)))
    }

    fn try_reply(
        &self,
        to: ReplyTo,
        message: Message,
    ) -> Result<Result<bool, TransportError>, (ReplyTo, Message)> {
        Ok(self.shared.check().map(|()| self.answer(&to, message)))
    }

    fn serve(&self, wish: Serve) -> Doing<'_, Arc<dyn Serving>> {
        self.shared.doing(move || {
            let served = Served::start(&self.shared, wish);
            self.keep_served(&served)?;
            Ok(served as Arc<dyn Serving>)
        })
    }
}

impl Connection {
    /// To whoever serves it; says so if there is nobody.
    fn send(&self, call: Outgoing, if_full: IfFull) -> (Option<Arc<Queue>>, Became) {
        let (client, number) = (&self.shared.client, call.call);
        let queue = self.shared.space.queues.get(call.rpc);
        let sent = || Sent { client: Arc::clone(client), call };
        let became = match &queue {
            Some(queue) => queue.send(sent(), if_full, || self.shared.now()),
            None => Became::Unserved,
        };
        if matches!(became, Became::Unserved) {
            client.inbox.unserved(number);
        }
        (queue, became)
    }

    /// To whoever has called, if it is still there.
    fn answer(&self, to: &ReplyTo, message: Message) -> bool {
        let client = self.shared.space.clients.get(&to.client);
        client.is_some_and(|client| client.inbox.reply(to.call, message))
    }
}

/// Waits for a place in a queue, and gives that up when it is dropped.
struct Place {
    queue: Arc<Queue>,
    ticket: u64,
    is_in: Option<oneshot::Receiver<()>>,
}

impl Place {
    async fn get(mut self) -> Result<(), TransportError> {
        let Some(is_in) = &mut self.is_in else { return Ok(()) };
        let got = is_in.await;
        self.is_in = None;
        got.map_err(|_| TransportError::Closed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_in.is_some() {
            self.queue.leave(self.ticket);
        }
    }
}

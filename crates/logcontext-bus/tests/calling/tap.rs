//! A transport that shows what goes through it, and does not what it is told not to.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use logcontext_bus::ConnectError;
use logcontext_bus::transport::{
    CallTransport, Connector, Doing, EventLog, EventTransport, Inbox, Lane, Leases, Link, Memory, Message,
    Outgoing, ReplyTo, Schemas, Serve, Serving, Status, Transport, TransportError,
};

/// Makes it, over a broker; one bus may use it.
pub(crate) struct Tap {
    broker: Memory,
    change: Mutex<Change>,
    made: Mutex<Option<(Arc<Tapped>, Arc<Inbox>)>>,
}

/// What is not as it would be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Change {
    /// Calls are never taken by the broker.
    pub(crate) holds_calls: bool,
    /// Calls are taken by the broker, and lost.
    pub(crate) loses_calls: bool,
    /// Calls fail like that.
    pub(crate) fails_calls: Option<TransportError>,
    /// There is no way without waiting.
    pub(crate) is_slow: bool,
    /// It says this of itself.
    pub(crate) status: Option<Status>,
}

impl Tap {
    pub(crate) fn new(broker: &Memory, change: Change) -> Self {
        Self { broker: broker.clone(), change: Mutex::new(change), made: Mutex::default() }
    }

    pub(crate) fn transport(&self) -> Arc<Tapped> {
        Arc::clone(&self.made.lock().unwrap().as_ref().unwrap().0)
    }

    pub(crate) fn inbox(&self) -> Arc<Inbox> {
        Arc::clone(&self.made.lock().unwrap().as_ref().unwrap().1)
    }

    /// Sends something that is no proper call, from a bus called so.
    pub(crate) async fn send(&self, rpc: &'static str, call: u64, head: &str, body: &str) {
        let message = Message { head: head.to_owned().into(), body: body.to_owned().into() };
        let timeout = Duration::from_secs(5);
        let outgoing = Outgoing { rpc, lane: Lane::First, call, timeout, message };
        self.transport().inner.calls().call(outgoing).await.unwrap();
    }

    /// The heads of the answers that were sent so far, as they are.
    pub(crate) fn heads(&self) -> Vec<String> {
        let replies = self.transport().replies.lock().unwrap().clone();
        replies.iter().map(|(_, message)| String::from_utf8(message.head.to_vec()).unwrap()).collect()
    }

    /// Head and body of the answers that were sent so far, without what tells calls apart and what they have cost.
    pub(crate) fn replies(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let replies = self.transport().replies.lock().unwrap().clone();
        replies.iter().map(|(_, message)| (without_cost(&text(&message.head)), text(&message.body))).collect()
    }
}

fn without_cost(head: &str) -> String {
    match head.split_once(r#","cost":{"#) {
        Some((before, cost)) => format!("{before}{}", cost.split_once('}').unwrap().1),
        None => head.to_owned(),
    }
}

impl Connector for Tap {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        let inbox = Arc::clone(&link.inbox);
        let inner = self.broker.connect(link)?;
        let change = self.change.lock().unwrap().clone();
        let tapped = Arc::new(Tapped {
            inner,
            change,
            replies: Mutex::default(),
            cancelled: Mutex::default(),
            last_call: Mutex::default(),
        });
        *self.made.lock().unwrap() = Some((Arc::clone(&tapped), inbox));
        Ok(tapped)
    }
}

#[derive(Debug)]
pub(crate) struct Tapped {
    inner: Arc<dyn Transport>,
    change: Change,
    replies: Mutex<Vec<(ReplyTo, Message)>>,
    cancelled: Mutex<Vec<u64>>,
    last_call: Mutex<Option<u64>>,
}

impl Tapped {
    /// The number of the call that was lost last.
    pub(crate) fn last_call(&self) -> Option<u64> {
        *self.last_call.lock().unwrap()
    }

    pub(crate) fn take_last_call(&self) -> Option<u64> {
        self.last_call.lock().unwrap().take()
    }

    pub(crate) fn cancelled(&self) -> usize {
        self.cancelled.lock().unwrap().len()
    }
}

impl Transport for Tapped {
    fn name(&self) -> &'static str {
        "tap"
    }

    fn events(&self) -> &dyn EventTransport {
        self.inner.events()
    }

    fn calls(&self) -> &dyn CallTransport {
        self
    }

    fn log(&self) -> &dyn EventLog {
        self.inner.log()
    }

    fn leases(&self) -> &dyn Leases {
        self.inner.leases()
    }

    fn schemas(&self) -> &dyn Schemas {
        self.inner.schemas()
    }

    fn status(&self) -> Status {
        self.change.status.clone().unwrap_or_else(|| self.inner.status())
    }

    fn connected(&self) -> Doing<'_, ()> {
        self.inner.connected()
    }

    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.inner.close(deadline)
    }
}

impl CallTransport for Tapped {
    fn call(&self, call: Outgoing) -> Doing<'_, ()> {
        if self.change.holds_calls {
            return Box::pin(pending());
        }
        if self.change.loses_calls {
            *self.last_call.lock().unwrap() = Some(call.call);
            return Box::pin(async { Ok(()) });
        }
        if let Some(error) = self.change.fails_calls.clone() {
            return Box::pin(async { Err(error) });
        }
        let call = self.inner.calls().call(call);
        if !self.change.is_slow {
            return call;
        }
        Box::pin(async {
            tokio::task::yield_now().await;
            let done = call.await;
            tokio::task::yield_now().await;
            done
        })
    }

    fn cancel(&self, rpc: &'static str, lane: Lane, call: u64) {
        self.cancelled.lock().unwrap().push(call);
        self.inner.calls().cancel(rpc, lane, call);
    }

    fn reply(&self, to: ReplyTo, message: Message) -> Doing<'_, bool> {
        self.replies.lock().unwrap().push((to.clone(), message.clone()));
        let reply = self.inner.calls().reply(to, message);
        if !self.change.is_slow {
            return reply;
        }
        Box::pin(async {
            tokio::task::yield_now().await;
            reply.await
        })
    }

    fn serve(&self, wish: Serve) -> Doing<'_, Arc<dyn Serving>> {
        self.inner.calls().serve(wish)
    }
}

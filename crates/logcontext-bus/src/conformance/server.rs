//! A server, as that of a bus would be.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

use super::case::soon;
use super::peer::Peer;
use crate::transport::{Incoming, Message, ReplyTo, Serve, Serving, Transport};

/// A service that serves a call.
pub(crate) struct Server {
    pub(crate) serving: Arc<dyn Serving>,
    pub(crate) calls: mpsc::UnboundedReceiver<Incoming>,
    pub(crate) slots: Arc<Semaphore>,
    transport: Arc<dyn Transport>,
}

impl Server {
    pub(crate) async fn start(peer: &Peer, rpc: &str, slots: usize) -> Self {
        let (sender, calls) = mpsc::unbounded_channel();
        let slots = Arc::new(Semaphore::new(slots));
        let wish = Serve { rpc: rpc.into(), slots: Arc::clone(&slots), calls: sender };
        let serving = soon("serving begins", peer.transport.calls().serve(wish)).await;
        let transport = Arc::clone(&peer.transport);
        Self { serving: serving.expect("serving begins"), calls, slots, transport }
    }

    /// The next call, which must come.
    pub(crate) async fn next(&mut self) -> Incoming {
        soon("a call comes", self.calls.recv()).await.expect("the server lives")
    }

    /// Sends an answer. Answers whether there was somebody to hear it.
    pub(crate) async fn reply(&self, to: ReplyTo, message: Message) -> bool {
        soon("an answer is sent", self.transport.calls().reply(to, message)).await.expect("an answer is sent")
    }

    /// Answers the next call with what it says.
    pub(crate) async fn echo(&mut self) -> bool {
        let call = self.next().await;
        self.reply(call.from.clone(), call.message.clone()).await
    }

    pub(crate) async fn stop_first(&self) {
        soon("the first lane ends", self.serving.stop_first()).await.expect("the first lane ends");
    }

    pub(crate) async fn stop(&self) {
        soon("serving ends", self.serving.stop()).await.expect("serving ends");
    }
}

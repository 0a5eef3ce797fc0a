//! What is this broker's own: queues of calls, turns, clocks that stand still, and what is left of who is gone.

mod claims;
mod ends;
mod kept;
mod queues;
mod threads;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use logcontext::{FutureExt, LogContext, testing};
use tokio::sync::{Semaphore, mpsc};

use super::Memory;
use crate::BusConfig;
use crate::conformance::Case;
use crate::conformance::peer::{Call, EVENT, Peer, RPC, message};
use crate::transport::{Delivery, Doing, Lane, Since, Subscribe};

/// On a runtime of one thread whose clock only goes on when there is nothing else to do.
fn on_a_stopped_clock<F: Future<Output = ()>>(behaviour: impl FnOnce(Case) -> F) {
    let test = testing::start();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).on_thread_park(logcontext::expect_sentinel);
    let case = Case::new(Arc::new(Memory::new()));
    let runtime = builder.build().expect("a runtime");
    runtime.block_on(behaviour(case).in_context(LogContext::new("TEST-1")));
    drop((runtime, test));
}

fn wish(slots: Arc<Semaphore>, deliveries: mpsc::UnboundedSender<Delivery>) -> Subscribe {
    Subscribe {
        event: EVENT.into(),
        group: "group".into(),
        partitions: vec![0],
        is_leased: false,
        with_retried: true,
        since: Since::Now,
        claim_after: Duration::from_secs(600),
        slots,
        deliveries,
    }
}

fn prefixed(config: BusConfig) -> BusConfig {
    BusConfig { prefix: "prefix".to_owned(), ..config }
}

fn queue_of(queue: usize) -> impl FnOnce(BusConfig) -> BusConfig {
    move |config| BusConfig { queue, ..config }
}

/// A call by the first lane that has no place in the queue.
async fn waits_outside(peer: &Peer, body: u64) -> (Doing<'_, ()>, Call) {
    let (outgoing, call) = peer.outgoing(RPC, Lane::First, message(body.to_string()));
    let mut send = peer.transport.calls().call(outgoing);
    let is_pending = std::future::poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending, "it has a place");
    (send, call)
}

fn queued(peer: &Peer) -> (usize, bool) {
    let status = peer.transport.status();
    (status.queued, status.is_full)
}

//! Several threads, and several runtimes.

use std::sync::Arc;

use logcontext::{FutureExt, LogContext, testing};
use tokio::sync::{Semaphore, mpsc};

use super::{queued, wish};
use crate::conformance::Case;
use crate::conformance::listener::ids;
use crate::conformance::peer::{RPC, number};
use crate::transport::Serve;
use crate::transport::memory::Memory;

/// Slots are given back on other threads than messages are put in from: neither side ever misses the other.
#[test]
fn pumps_miss_nothing_whatever_thread_kicks_them() {
    const COUNT: u64 = 20_000;
    let test = testing::start();
    let runtime = test.multi_thread(3);
    let done = async {
        let case = Case::new(Arc::new(Memory::new()));
        let (a, b) = (case.connect(), Arc::new(case.connect()));
        let caller = Arc::clone(&b);
        let mut consumers =
            [a.wish("group").slots(1).listen().await, b.wish("group").slots(2).listen().await];
        let mut servers = [a.serve(1).await, b.serve(2).await];
        let publish = logcontext::run_in_background(async move { a.fire_all(0..COUNT).await });
        let call = logcontext::run_in_background(async move {
            for n in 0..COUNT {
                caller.call(n.to_string()).await;
            }
        });
        // Slots are given back by threads of their own.
        let (back, mut slots) = mpsc::unbounded_channel();
        let give_back = logcontext::run_in_background(async move { while slots.recv().await.is_some() {} });
        let [one, two] = &mut consumers;
        let [first, second] = &mut servers;
        let (mut events, mut calls) = (0, 0);
        while events < COUNT || calls < COUNT {
            let slot = tokio::select! {
                delivery = one.next() => { events += 1; one.acknowledge([delivery.id]).await; delivery.slot }
                delivery = two.next() => { events += 1; two.acknowledge([delivery.id]).await; delivery.slot }
                call = first.next() => { calls += 1; call.slot.unwrap() }
                call = second.next() => { calls += 1; call.slot.unwrap() }
            };
            back.send(slot).unwrap();
        }
        drop(back);
        give_back.await.unwrap();
        publish.await.unwrap();
        call.await.unwrap();
        assert_eq!(queued(&b), (0, false));
    };
    runtime.block_on(done.in_context(LogContext::new("TEST-1")));
    drop((runtime, test));
}

/// While another thread hands over what it has taken, a stop waits for it.
#[test]
fn what_was_brought_is_in_the_channel_once_a_consumer_has_stopped() {
    let test = testing::start();
    let runtime = test.multi_thread(2);
    let done = async {
        let case = Case::new(Arc::new(Memory::new()));
        let (peer, publisher) = (case.connect(), case.connect());
        let fire = logcontext::run_in_background(async move { publisher.fire_all(0..5_000).await });
        let mut handled = 0;
        while handled < 5_000 {
            let mut listener = peer.wish("group").since_start().slots(50).listen().await;
            let mut had = listener.take(1).await;
            listener.stop().await;
            while let Ok(delivery) = listener.deliveries.try_recv() {
                had.push(delivery);
            }
            assert_eq!(peer.lag("group").await.pending, had.len() as u64);
            listener.acknowledge(ids(&had)).await;
            handled += had.len();
        }
        fire.await.unwrap();
    };
    runtime.block_on(done.in_context(LogContext::new("TEST-1")));
    drop((runtime, test));
}

/// One broker, two runtimes; and futures that no runtime polls.
#[test]
fn buses_of_several_runtimes_share_a_broker() {
    let test = testing::start();
    let case = Case::new(Arc::new(Memory::new()));
    let (one, other) = (test.multi_thread(1), test.current_thread());
    let here = {
        let _entered = one.enter();
        case.connect()
    };
    let there = {
        let _entered = other.enter();
        case.connect()
    };
    let (sender, mut deliveries) = mpsc::unbounded_channel();
    let wish = wish(Arc::new(Semaphore::new(1)), sender);
    let subscription = futures_util::FutureExt::now_or_never(here.transport.events().subscribe(wish));
    let subscription = subscription.expect("it needs no runtime").unwrap();
    let (calls, mut served) = mpsc::unbounded_channel();
    let wish = Serve { rpc: RPC.into(), slots: Arc::new(Semaphore::new(1)), calls };
    let serving = futures_util::FutureExt::now_or_never(here.transport.calls().serve(wish));
    let serving = serving.expect("it needs no runtime").unwrap();

    let call = other.block_on(async {
        there.fire("1").await;
        there.call("2").await
    });
    assert_eq!(number(&deliveries.try_recv().unwrap().message), 1);
    let came = served.try_recv().unwrap();
    let reply = here.transport.calls().reply(came.from, came.message);
    assert_eq!(futures_util::FutureExt::now_or_never(reply), Some(Ok(true)));
    assert_eq!(other.block_on(async { number(&call.answer().await) }), 2);
    drop((subscription, serving, here, there, one, other, test));
}

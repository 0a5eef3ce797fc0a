//! What is this broker's own: queues of calls, pumps, and clocks that stand still.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use logcontext::{FutureExt, LogContext, testing};
use tokio::sync::{Semaphore, mpsc};

use super::connection::Connection;
use super::consumer::Subscribed;
use super::pump::{Moved, Pumped};
use super::server::Served;
use super::{Memory, lock};
use crate::BusConfig;
use crate::conformance::Case;
use crate::conformance::peer::{Call, EVENT, Peer, RPC, number};
use crate::transport::{Delivery, DeliveryId, Doing, Lane, Publish, Serve, Since, Subscribe, TransportError};
use crate::waits::Told;

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
    let (outgoing, call) =
        peer.outgoing(RPC, Lane::First, crate::conformance::peer::message(body.to_string()));
    let mut send = peer.transport.calls().call(outgoing);
    let is_pending = std::future::poll_fn(|cx| Poll::Ready(send.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending, "it has a place");
    (send, call)
}

fn queued(peer: &Peer) -> (usize, bool) {
    let status = peer.transport.status();
    (status.queued, status.is_full)
}

#[test]
fn who_finds_the_queue_full_waits_and_gets_in_in_order() {
    on_a_stopped_clock(|case| async move {
        let (caller, service) = (case.connect_with(queue_of(2)), case.connect());
        let mut server = service.serve(0).await;
        let _first = caller.call("0").await;
        assert_eq!(queued(&caller), (1, false));
        let _second = caller.call("1").await;
        assert_eq!(queued(&caller), (2, true));
        let (third, _third) = waits_outside(&caller, 2).await;
        let (fourth, _fourth) = waits_outside(&caller, 3).await;
        assert_eq!(queued(&caller), (4, true));

        server.slots.add_permits(1);
        let come = server.next().await;
        assert_eq!(number(&come.message), 0);
        assert_eq!((third.await, queued(&caller)), (Ok(()), (3, true)));
        for expected in 1..4 {
            server.slots.add_permits(1);
            assert_eq!(number(&server.next().await.message), expected);
        }
        assert_eq!((fourth.await, queued(&caller)), (Ok(()), (0, false)));
    });
}

#[test]
fn who_gives_up_its_place_makes_room_for_the_next() {
    on_a_stopped_clock(|case| async move {
        let (caller, service) = (case.connect_with(queue_of(1)), case.connect());
        let mut server = service.serve(0).await;
        let first = caller.call("0").await;
        let (second, _second) = waits_outside(&caller, 1).await;
        let (third, _third) = waits_outside(&caller, 2).await;
        // One that waits outside goes, then one that is in.
        drop(second);
        assert_eq!(queued(&caller), (2, true));
        caller.cancel(Lane::First, &first);
        assert_eq!((third.await, queued(&caller)), (Ok(()), (1, true)));
        server.slots.add_permits(5);
        assert_eq!(number(&server.next().await.message), 2);
        assert!(server.calls.try_recv().is_err());
        assert_eq!(queued(&caller), (0, false));
    });
}

#[test]
fn calls_that_wait_for_the_last_server_learn_that_it_has_gone() {
    on_a_stopped_clock(|case| async move {
        let (caller, service) = (case.connect_with(queue_of(1)), case.connect());
        for dies in [true, false] {
            let server = service.serve(0).await;
            let inside = caller.call("0").await;
            let (outside, call) = waits_outside(&caller, 1).await;
            let _stopped = if dies {
                drop(server);
                None
            } else {
                server.stop_first().await;
                Some(server)
            };
            assert!(inside.was_unserved().await);
            assert_eq!(outside.await, Ok(()));
            assert!(call.was_unserved().await);
            assert_eq!(queued(&caller), (0, false));
        }
    });
}

#[test]
fn who_closes_takes_its_calls_out_of_the_queue() {
    on_a_stopped_clock(|case| async move {
        let (closing, other) = (case.connect_with(queue_of(2)), case.connect_with(queue_of(2)));
        let service = case.connect();
        let mut server = service.serve(0).await;
        let gone = closing.call("0").await;
        let _stays = other.call("1").await;
        let (outside, _outside) = waits_outside(&closing, 2).await;
        let (let_in, _let_in) = waits_outside(&other, 3).await;
        closing.transport.close(Duration::ZERO).await;
        assert!(matches!(gone.became().await, Told::Lost(_)));
        assert_eq!(outside.await, Err(TransportError::Closed));
        assert_eq!(let_in.await, Ok(()));
        server.slots.add_permits(5);
        assert_eq!((number(&server.next().await.message), number(&server.next().await.message)), (1, 3));
        assert!(server.calls.try_recv().is_err());
    });
}

#[test]
fn calls_of_a_server_that_takes_none_go_to_another() {
    on_a_stopped_clock(|case| async move {
        let (caller, a, b) = (case.connect(), case.connect(), case.connect());
        for lane in [Lane::First, Lane::Nested] {
            let mut deaf = a.serve(10).await;
            deaf.calls.close();
            let mut server = b.serve(10).await;
            for n in 0..4 {
                let call = caller.call_by(lane, n.to_string()).await;
                assert!(server.echo().await);
                assert_eq!(number(&call.answer().await), n);
            }
            assert_eq!(deaf.slots.available_permits(), 10);
        }
    });
}

#[test]
fn who_is_closed_serves_nothing_more() {
    on_a_stopped_clock(|case| async move {
        let (caller, service) = (case.connect(), case.connect());
        let _server = service.serve(0).await;
        let waits = caller.call("0").await;
        service.transport.close(Duration::ZERO).await;
        assert!(waits.was_unserved().await);
        for lane in [Lane::First, Lane::Nested] {
            assert!(caller.call_by(lane, "1").await.was_unserved().await);
        }
    });
}

#[test]
fn events_of_a_consumer_that_takes_none_go_to_another() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let mut deaf = a.wish("group").listen().await;
        deaf.deliveries.close();
        let mut listener = b.wish("group").listen().await;
        a.fire_all(0..4).await;
        assert_eq!(listener.handle_all(4).await, [0, 1, 2, 3]);
        assert_eq!(a.lag("group").await, Default::default());
    });
}

#[test]
fn claims_and_leases_run_out_by_the_clock_of_the_runtime() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let claim_after = Duration::from_secs(40);
        let mut idle = a.wish("group").slots(2).claim_after(claim_after).listen().await;
        a.fire_all(0..2).await;
        let taken = idle.take(2).await;
        let mut other = b.wish("group").claim_after(claim_after).listen().await;
        tokio::time::advance(claim_after / 2).await;
        assert_eq!(idle.renew([taken[1].id]).await, []);
        assert_eq!(b.transport.leases().take_part("one", claim_after).await, Ok(1));
        let lease = a.transport.leases().acquire("one", claim_after).await.unwrap().unwrap();

        // Exactly when it is time, and no earlier.
        let begun = tokio::time::Instant::now();
        assert_eq!(other.next().await.id, taken[0].id);
        assert!(
            begun.elapsed().abs_diff(claim_after / 2) <= Duration::from_millis(1),
            "{:?}",
            begun.elapsed()
        );
        assert_eq!(other.next().await.id, taken[1].id);
        assert!(begun.elapsed().abs_diff(claim_after) <= Duration::from_millis(1), "{:?}", begun.elapsed());
        assert_eq!(lease.renew().await, Ok(false));
        assert_eq!(a.transport.leases().take_part("one", claim_after).await, Ok(1));
    });
}

/// A pump may be running on another thread while its consumer dies: it has looked whether it is to stop before.
#[test]
fn who_is_gone_is_given_nothing() {
    on_a_stopped_clock(|case| async move {
        let memory = Memory::new();
        let peer = Case::new(Arc::new(memory.clone())).connect_with(prefixed);
        let space = Arc::clone(&lock(&memory.spaces)["prefix"]);
        let connection = Connection::new(space, case.link(prefixed));
        let shared = &connection.shared;
        let slots = Arc::new(Semaphore::new(2));
        let slot = || Arc::clone(&slots).try_acquire_owned().unwrap();
        let (sender, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Subscribed::start(shared, wish(Arc::new(Semaphore::new(0)), sender));
        peer.fire("0").await;
        consumer.die();
        assert_eq!(consumer.consumer.move_one(slot()), Moved::Nothing);
        assert!(deliveries.try_recv().is_err());
        assert_eq!((peer.lag("group").await.pending, slots.available_permits()), (0, 2));

        let (calls, mut served) = mpsc::unbounded_channel();
        let mut other = peer.serve(0).await;
        let server =
            Served::start(shared, Serve { rpc: RPC.into(), slots: Arc::new(Semaphore::new(0)), calls });
        let _call = peer.call("0").await;
        server.die();
        assert_eq!(server.server.move_one(slot()), Moved::Nothing);
        assert!(served.try_recv().is_err());
        other.slots.add_permits(1);
        assert_eq!(number(&other.next().await.message), 0);
    });
}

#[test]
fn who_released_an_event_gets_it_again_only_if_it_is_alone() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let mut one = a.wish("group").listen().await;
        a.fire("0").await;
        let had = one.next().await;
        one.release([had.id]).await;
        let again = one.next().await;
        assert_eq!((again.id, again.deliveries), (had.id, 2));
        let mut other = b.wish("group").slots(0).listen().await;
        one.release([had.id]).await;
        a.fire("1").await;
        assert_eq!(one.handle().await, 1);
        other.slots.add_permits(1);
        assert_eq!((other.next().await.id, one.deliveries.try_recv().is_err()), (had.id, true));
    });
}

#[test]
fn slots_that_are_closed_end_a_consumer_and_a_server_and_nobody_hangs() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let closed = a.wish("group").slots(0).listen().await;
        let server = a.serve(0).await;
        a.fire("0").await;
        let call = b.call("0").await;
        closed.slots.close();
        server.slots.close();
        a.fire("1").await;
        let mut other = b.wish("group").listen().await;
        assert_eq!(other.handle_all(2).await, [0, 1]);
        closed.stop().await;
        server.stop().await;
        assert!(call.was_unserved().await);
    });
}

#[test]
fn a_group_of_a_partition_that_came_later_misses_nothing() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        let message = crate::conformance::peer::message;
        let mut listener = peer.wish("group").partitions([0]).listen().await;
        peer.fire_to(EVENT, 5, message("1")).await;
        assert_eq!(peer.lag("group").await.unread, 1);
        let all = crate::Retention::default().history(0);
        assert_eq!(peer.transport.log().trim(EVENT, all).await.unwrap().kept, 1);
        listener.stop().await;
        listener = peer.wish("group").partitions([5]).listen().await;
        assert_eq!(listener.handle().await, 1);
    });
}

#[test]
fn a_group_that_somebody_is_in_is_not_forgotten() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        let listener = peer.wish("group").listen().await;
        let forgotten = peer.transport.log().forget_group(EVENT, "group").await;
        assert!(matches!(forgotten, Err(TransportError::Refused(_))), "{forgotten:?}");
        listener.die();
        assert_eq!(peer.transport.log().forget_group(EVENT, "group").await, Ok(true));
    });
}

#[test]
fn a_claim_begins_anew_with_each_delivery() {
    on_a_stopped_clock(|case| async move {
        let claim_after = Duration::from_secs(40);
        let (a, b, c) = (case.connect(), case.connect(), case.connect());
        let mut first = a.wish("group").claim_after(claim_after).listen().await;
        a.fire("0").await;
        let taken = first.next().await;
        let mut second = b.wish("group").slots(1).claim_after(claim_after).listen().await;
        tokio::time::advance(claim_after - Duration::from_secs(1)).await;
        first.die();
        let again = second.next().await;
        let since = tokio::time::Instant::now();
        let mut third = c.wish("group").claim_after(claim_after).listen().await;
        assert_eq!((third.next().await.id, again.id), (taken.id, taken.id));
        assert!(since.elapsed().abs_diff(claim_after) <= Duration::from_millis(1), "{:?}", since.elapsed());
    });
}

#[test]
fn a_leased_partition_is_read_by_its_holder_alone_until_that_is_gone() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let mut before = a.wish("group").partitions([0]).leased().listen().await;
        let mut holder = b.wish("group").partitions([0]).leased().listen().await;
        a.fire_all(0..4).await;
        assert_eq!(holder.handle_all(4).await, [0, 1, 2, 3]);
        assert!(before.deliveries.try_recv().is_err());
        holder.stop().await;
        a.fire("4").await;
        assert_eq!(before.handle().await, 4);
    });
}

#[test]
fn whoever_has_slots_gets_its_turn() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let mut listeners = [a.wish("group").listen().await, b.wish("group").listen().await];
        let mut servers = [a.serve(100).await, b.serve(100).await];
        a.fire_all(0..10).await;
        for lane in [Lane::First, Lane::Nested] {
            for _ in 0..10 {
                a.call_by(lane, "0").await;
            }
        }
        for listener in &mut listeners {
            listener.take(5).await;
            assert!(listener.deliveries.try_recv().is_err());
        }
        for server in &mut servers {
            for _ in 0..10 {
                server.next().await;
            }
            assert!(server.calls.try_recv().is_err());
        }
    });
}

#[test]
fn who_comes_later_waits_behind_those_who_wait_already() {
    on_a_stopped_clock(|case| async move {
        let (small, large) = (case.connect_with(queue_of(1)), case.connect_with(queue_of(10)));
        let service = case.connect();
        let mut server = service.serve(0).await;
        let _first = small.call("0").await;
        let (_second, _call) = waits_outside(&small, 1).await;
        let (_third, _other) = waits_outside(&large, 2).await;
        server.slots.add_permits(3);
        for expected in 0..3 {
            assert_eq!(number(&server.next().await.message), expected);
        }
    });
}

#[test]
fn history_of_several_partitions_is_one() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        for n in 0..12_u16 {
            peer.fire_to(EVENT, n % 3, crate::conformance::peer::message(n.to_string())).await;
        }
        let newest = peer.newest(5).await;
        assert!(newest.iter().map(|stored| number(&stored.message)).eq((7..12).rev()));
        assert!(newest.iter().all(|stored| u64::from(stored.partition) == number(&stored.message) % 3));
    });
}

#[test]
fn what_came_back_and_was_cut_is_pending_no_more() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        let mut listener = peer.wish("group").slots(2).listen().await;
        peer.fire_all(0..10).await;
        let taken = listener.take(2).await;
        listener.stop().await;
        listener.release([taken[0].id]).await;
        let trimmed = peer.transport.log().trim(EVENT, crate::Retention::default().history(0).cap(4)).await;
        assert_eq!(trimmed.unwrap().lost, 6);
        // What is in hand is still pending.
        assert_eq!(peer.lag("group").await, crate::transport::Lag::new(4, 1));
        listener.release([taken[1].id]).await;
        let mut other = peer.wish("group").listen().await;
        assert_eq!(other.handle_all(4).await, [6, 7, 8, 9]);
        assert_eq!(peer.lag("group").await, Default::default());
    });
}

#[test]
fn nothing_is_fired_into_what_is_retried() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        let partition = DeliveryId::RETRIED;
        let publish = Publish { event: EVENT, partition, message: Default::default() };
        let refused = peer.transport.events().publish(publish).await;
        assert!(matches!(refused, Err(TransportError::Refused(_))), "{refused:?}");
    });
}

#[test]
fn nothing_is_kept_of_who_is_gone_and_of_what_is_done() {
    on_a_stopped_clock(|case| async move {
        let memory = Memory::new();
        drop(case);
        let case = Case::new(Arc::new(memory.clone()));
        let peer = case.connect_with(prefixed);
        let mut listener = peer.wish("group").listen().await;
        let server = peer.serve(0).await;
        let call = peer.call("0").await;
        let outside = peer.call("1").await;
        peer.fire("0").await;
        let delivery = listener.next().await;
        listener.bury(delivery, "no").await;
        let log = peer.transport.log();
        let letter = log.dead_letters(EVENT, 1).await.unwrap().remove(0).0;
        assert_eq!(log.retry_dead_letter(EVENT, letter).await, Ok(true));
        assert_eq!(listener.handle().await, 0);
        assert_eq!(peer.transport.leases().take_part("one", Duration::from_secs(60)).await, Ok(1));
        let space = Arc::clone(&lock(&memory.spaces)["prefix"]);
        {
            let stream = space.stream(EVENT);
            let state = stream.lock();
            let group = &state.groups["group"];
            assert_eq!(group.retried.first(), group.retried.end());
            assert!(group.retrying.pending.is_empty());
        }
        peer.transport.close(Duration::ZERO).await;
        drop((call, outside, server, listener));
        assert!(space.clients.names().is_empty());
        assert!(space.queues.all().iter().all(|queue| queue.is_idle()));
        assert!(space.stream(EVENT).lock().members.is_empty());
        let other = case.connect_with(prefixed);
        assert_eq!(other.transport.leases().take_part("one", Duration::from_secs(60)).await, Ok(1));
        drop(peer);
        drop(other);
        assert_eq!(Arc::strong_count(&space), 2, "a connection is left");
    });
}

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

//! Calls that wait for slots: in what order, how many, and until when.

use std::time::Duration;

use super::{on_a_stopped_clock, queue_of, queued, waits_outside};
use crate::conformance::peer::number;
use crate::transport::{Lane, TransportError};
use crate::waits::Told;

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

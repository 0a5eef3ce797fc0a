//! What is kept, and what is not.

use std::sync::Arc;
use std::time::Duration;

use super::{on_a_stopped_clock, prefixed};
use crate::Retention;
use crate::conformance::Case;
use crate::conformance::peer::{EVENT, message, number};
use crate::transport::memory::{Memory, lock};
use crate::transport::{DeliveryId, Lag, Publish, TransportError};

#[test]
fn a_group_of_a_partition_that_came_later_misses_nothing() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        let mut listener = peer.wish("group").partitions([0]).listen().await;
        peer.fire_to(EVENT, 5, message("1")).await;
        assert_eq!(peer.lag("group").await.unread, 1);
        let all = Retention::default().history(0);
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
fn history_of_several_partitions_is_one() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        for n in 0..12_u16 {
            peer.fire_to(EVENT, n % 3, message(n.to_string())).await;
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
        let trimmed = peer.transport.log().trim(EVENT, Retention::default().history(0).cap(4)).await;
        assert_eq!(trimmed.unwrap().lost, 6);
        // What is in hand is still pending.
        assert_eq!(peer.lag("group").await, Lag::new(4, 1));
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

//! What a consumer has in hand: slots, claims, and what becomes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Case;
use super::listener::{ids, numbers};
use super::peer::number;

/// So long a claim holds that is to run out.
const SHORT: Duration = Duration::from_millis(500);

/// What a dead consumer had comes to another, in order, and says that it was delivered before.
pub async fn what_a_dead_consumer_had_comes_to_another_in_order(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut first = a.wish("group").claim_after(SHORT).listen().await;
    a.fire_all(1..=5).await;
    let taken = first.take(5).await;
    first.acknowledge([taken[1].id]).await;
    let mut second = b.wish("group").claim_after(SHORT).listen().await;
    first.die();
    for expected in [1, 3, 4, 5] {
        let delivery = second.next().await;
        assert_eq!((number(&delivery.message), delivery.deliveries), (expected, 2));
        second.acknowledge([delivery.id]).await;
    }
    assert_eq!(a.lag("group").await, Default::default());
}

/// A consumer that renews its claim keeps it, however long; one that does not loses it to another, and learns so.
pub async fn who_renews_keeps_what_it_has_and_who_does_not_loses_it(case: Case) {
    let claim_after = Duration::from_secs(2);
    let (a, b, c) = (case.connect(), case.connect(), case.connect());
    // Each has room for one, so it is known who has which.
    let mut renewing = a.wish("group").claim_after(claim_after).slots(1).listen().await;
    a.fire("1").await;
    let kept = renewing.next().await;
    let mut idle = b.wish("group").claim_after(claim_after).slots(1).listen().await;
    a.fire("2").await;
    let lost = idle.next().await;
    assert_eq!((number(&kept.message), number(&lost.message)), (1, 2));

    let mut other = c.wish("group").claim_after(claim_after).listen().await;
    let renew = async {
        let mut ticks = interval(claim_after / 20);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            assert_eq!(renewing.renew([kept.id]).await, []);
        }
    };
    // What was renewed is older: it would have come first.
    let claimed = tokio::select! {
        claimed = other.next() => claimed,
        () = renew => unreachable!("it is renewed for ever"),
    };
    assert_eq!((number(&claimed.message), claimed.deliveries), (2, 2));
    assert_eq!(idle.renew([lost.id]).await, [lost.id]);
    assert_eq!(renewing.renew([kept.id]).await, []);
    other.acknowledge([claimed.id]).await;
    renewing.acknowledge([kept.id]).await;
    assert_eq!(a.lag("group").await, Default::default());
    assert!(other.deliveries.try_recv().is_err());
}

/// What is released need not wait until a claim has run out.
pub async fn what_is_released_comes_to_another_at_once(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut first = a.wish("group").slots(3).listen().await;
    a.fire_all(1..=3).await;
    let taken = first.take(3).await;
    let mut second = b.wish("group").listen().await;
    first.release(ids(&taken)).await;
    let again = second.take(3).await;
    assert_eq!(numbers(&again), [1, 2, 3]);
    assert!(again.iter().all(|delivery| delivery.deliveries == 2));
    assert_eq!(first.renew(ids(&taken)).await, ids(&taken));
    assert_eq!(second.renew(ids(&again)).await, []);
}

/// What was not begun does not count as delivered, however often it comes and goes.
pub async fn what_is_given_back_was_not_delivered(case: Case) {
    let a = case.connect();
    a.wish("group").listen().await.stop().await;
    a.fire_all(1..=2).await;
    for _ in 0..3 {
        let mut listener = a.wish("group").slots(2).listen().await;
        let taken = listener.take(2).await;
        assert_eq!(numbers(&taken), [1, 2]);
        assert!(taken.iter().all(|delivery| delivery.deliveries == 1), "{taken:?}");
        listener.stop().await;
        listener.give_back(ids(&taken)).await;
    }
    let mut last = a.wish("group").listen().await;
    assert_eq!(last.handle_all(2).await, [1, 2]);
    assert_eq!(a.lag("group").await, Default::default());
}

/// It waits if there is nobody.
pub async fn what_was_released_waits_for_somebody(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut first = a.wish("group").slots(3).listen().await;
    a.fire_all(1..=3).await;
    let taken = first.take(3).await;
    first.stop().await;
    first.release(ids(&taken)).await;
    first.die();
    let mut second = b.wish("group").listen().await;
    assert_eq!(second.handle_all(3).await, [1, 2, 3]);
    assert_eq!(a.lag("group").await, Default::default());
}

/// What was brought before the stop is handled by who has it.
pub async fn what_a_stopped_consumer_has_is_still_its_own(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut first = a.wish("group").slots(3).listen().await;
    a.fire_all(1..=3).await;
    let taken = first.take(3).await;
    first.stop().await;
    let mut second = b.wish("group").listen().await;
    a.fire("4").await;
    assert_eq!(second.handle().await, 4);
    assert_eq!(first.renew(ids(&taken)).await, []);
    first.acknowledge(ids(&taken)).await;
    assert_eq!(a.lag("group").await, Default::default());
    assert!(first.deliveries.try_recv().is_err());
}

/// What a consumer has not been brought when it stops comes to others; what it has been brought is in its hands.
pub async fn a_stop_leaves_nothing_in_limbo(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut first = a.wish("group").slots(7).listen().await;
    let fire = a.fire_all(1..=50);
    let stop = async {
        let one = first.next().await;
        first.stop().await;
        one
    };
    let ((), one) = tokio::join!(fire, stop);
    let mut brought = vec![one];
    while let Ok(delivery) = first.deliveries.try_recv() {
        brought.push(delivery);
    }
    assert_eq!(a.lag("group").await.pending, brought.len() as u64);
    first.acknowledge(ids(&brought)).await;
    let mut had = numbers(&brought);
    drop(brought);
    let mut second = b.wish("group").listen().await;
    had.extend(second.handle_all(50 - had.len()).await);
    had.sort_unstable();
    assert_eq!(had, (1..=50).collect::<Vec<_>>());
    assert_eq!(a.lag("group").await, Default::default());
}

/// Nothing is taken from the broker that there is no slot for.
pub async fn nothing_is_read_without_a_slot(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").slots(3).listen().await;
    peer.fire_all(1..=20).await;
    let mut taken = listener.take(3).await;
    for done in 0..10 {
        assert_eq!(listener.slots.available_permits(), 0);
        let lag = peer.lag("group").await;
        assert_eq!((lag.pending, lag.unread), (3, 17 - done));
        assert!(listener.deliveries.try_recv().is_err());
        // It is still in hand while its slot is.
        let first = taken.remove(0);
        listener.acknowledge([first.id]).await;
        drop(first);
        taken.push(listener.next().await);
        assert_eq!(numbers(&taken), [done + 2, done + 3, done + 4]);
    }
}

/// Whoever gives back a slot gets the next one, whether it is done with the last one or not.
pub async fn slots_that_come_free_bring_what_waits(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").slots(1).listen().await;
    peer.fire_all(1..=40).await;
    let mut had = Vec::new();
    for expected in 1..=40 {
        let delivery = listener.next().await;
        assert_eq!(number(&delivery.message), expected);
        had.push(delivery.id);
    }
    listener.acknowledge(had).await;
    assert_eq!(peer.lag("group").await, Default::default());
}

/// Who is busy keeps nothing from those who are not.
pub async fn who_has_no_slot_leaves_it_to_others(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut busy = a.wish("group").slots(2).listen().await;
    a.fire_all(1..=2).await;
    let held = busy.take(2).await;
    let mut free = b.wish("group").slots(1).listen().await;
    a.fire_all(3..=30).await;
    assert_eq!(free.handle_all(28).await, (3..=30).collect::<Vec<_>>());
    assert_eq!(numbers(&held).into_iter().collect::<BTreeSet<_>>(), [1, 2].into());
    assert!(busy.deliveries.try_recv().is_err());
}

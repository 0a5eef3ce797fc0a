//! What a broker keeps: dead letters, lag, history, and what is forgotten.

use std::time::{Duration, SystemTime};

use super::Case;
use super::case::soon;
use super::listener::ids;
use super::peer::{EVENT, Peer, message, number};
use crate::config::Retention;
use crate::transport::{DeadLetter, EventId, Lag, Page, Trimmed};

/// Keeps so many as history, and so many at most.
fn retention(history: usize, cap: usize) -> Retention {
    Retention::default().history(history).cap(cap)
}

impl Peer {
    async fn letters(&self, limit: usize) -> Vec<(EventId, SystemTime, DeadLetter)> {
        let letters = self.transport.log().dead_letters(EVENT, limit);
        soon("the dead letters", letters).await.expect("the dead letters")
    }

    async fn letter_count(&self) -> u64 {
        soon("a count", self.transport.log().dead_letter_count(EVENT)).await.expect("a count")
    }

    async fn retry(&self, id: EventId) -> bool {
        soon("a retry", self.transport.log().retry_dead_letter(EVENT, id)).await.expect("a retry")
    }

    async fn drop_letter(&self, id: EventId) -> bool {
        soon("a drop", self.transport.log().drop_dead_letter(EVENT, id)).await.expect("a drop")
    }

    async fn trim(&self, retention: Retention) -> Trimmed {
        soon("a trim", self.transport.log().trim(EVENT, retention)).await.expect("a trim")
    }

    async fn forget(&self, group: &str) -> bool {
        soon("a group is forgotten", self.transport.log().forget_group(EVENT, group))
            .await
            .expect("forgotten")
    }

    /// The numbers that are kept, the newest first.
    async fn kept(&self) -> Vec<u64> {
        self.newest(1_000).await.iter().map(|stored| number(&stored.message)).collect()
    }
}

/// It is a dead letter with all that is known of it, and its group is done with it; others are not.
pub async fn what_is_buried_is_a_dead_letter_and_done(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    let mut other = peer.wish("other").listen().await;
    peer.fire_all(1..=2).await;
    let delivery = listener.next().await;
    let letter = listener.bury(delivery, "cannot be read: line 1").await;
    assert_eq!((&*letter.group, letter.deliveries, &letter.message), ("group", 1, &message("1")));

    assert_eq!(listener.handle().await, 2);
    assert_eq!(peer.lag("group").await, Lag::default());
    let letters = peer.letters(10).await;
    assert_eq!(letters.iter().map(|(_, _, letter)| letter).collect::<Vec<_>>(), [&letter]);
    assert_eq!(peer.letter_count().await, 1);
    assert_eq!(other.handle_all(2).await, [1, 2]);
}

/// Nothing is a dead letter twice, nor if it was done before.
pub async fn what_is_done_cannot_be_buried(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    peer.fire_all(1..=2).await;
    let [first, second] = [listener.next().await, listener.next().await];
    let (id, message) = (first.id, first.message.clone());
    let letter = listener.bury(first, "no").await;
    let again = listener.subscription.bury(id, DeadLetter { message, ..letter });
    soon("nothing is buried", again).await.expect("nothing is buried");
    listener.acknowledge([second.id]).await;
    listener.bury(second, "no").await;
    assert_eq!(peer.letter_count().await, 1);
}

/// The oldest of them are shown first, as many as are asked for.
pub async fn dead_letters_come_oldest_first(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    peer.fire_all(1..=5).await;
    for _ in 1..=5 {
        let delivery = listener.next().await;
        listener.bury(delivery, "no").await;
    }
    let letters = peer.letters(3).await;
    assert_eq!(letters.iter().map(|(_, _, letter)| number(&letter.message)).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(letters.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
    assert_eq!(peer.letters(100).await.len(), 5);
    assert_eq!(peer.letter_count().await, 5);
}

/// The group that has buried it gets it again, and no other; it is a dead letter no more.
pub async fn a_dead_letter_that_is_retried_comes_to_its_group_alone_as_if_new(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut listener = a.wish("group").listen().await;
    let mut other = b.wish("other").listen().await;
    a.fire("1").await;
    let delivery = listener.next().await;
    listener.bury(delivery, "no").await;
    assert_eq!(other.handle().await, 1);

    let letter = a.letters(10).await.remove(0).0;
    assert!(b.retry(letter).await);
    let again = listener.next().await;
    assert_eq!((number(&again.message), again.deliveries), (1, 1));
    assert_eq!(again.id.partition, crate::transport::DeliveryId::RETRIED);
    assert_eq!(a.lag("group").await, Lag::new(0, 1));
    assert_eq!(listener.renew([again.id]).await, []);
    listener.acknowledge([again.id]).await;
    assert_eq!((a.lag("group").await, a.letter_count().await), (Lag::default(), 0));
    assert!(!a.retry(letter).await);

    a.fire("2").await;
    assert_eq!((listener.handle().await, other.handle().await), (2, 2));
}

/// It waits if nobody is in the group.
pub async fn a_dead_letter_that_is_retried_waits_for_its_group(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    peer.fire("1").await;
    let delivery = listener.next().await;
    listener.bury(delivery, "no").await;
    listener.stop().await;
    listener.die();
    let letter = peer.letters(10).await.remove(0).0;
    assert!(peer.retry(letter).await);
    assert_eq!(peer.lag("group").await, Lag::new(1, 0));
    let mut listener = peer.wish("group").listen().await;
    assert_eq!(listener.handle().await, 1);
    assert_eq!(peer.lag("group").await, Lag::default());
}

/// What is retried is delivered at least once like any other.
pub async fn what_is_retried_is_not_lost_with_its_consumer(case: Case) {
    let claim_after = Duration::from_millis(500);
    let (a, b) = (case.connect(), case.connect());
    let mut first = a.wish("group").claim_after(claim_after).listen().await;
    a.fire("1").await;
    let delivery = first.next().await;
    first.bury(delivery, "no").await;
    assert!(a.retry(a.letters(1).await.remove(0).0).await);
    let retried = first.next().await;
    let mut second = b.wish("group").claim_after(claim_after).listen().await;
    first.die();
    drop(retried);
    let again = second.next().await;
    assert_eq!((number(&again.message), again.deliveries), (1, 2));
    let letter = second.bury(again, "again").await;
    assert_eq!(a.letters(10).await.remove(0).2, letter);
    assert_eq!(a.lag("group").await, Lag::default());
}

/// What is dropped is gone, and was there only once.
pub async fn a_dead_letter_that_is_dropped_is_gone(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    peer.fire_all(1..=2).await;
    for delivery in listener.take(2).await {
        listener.bury(delivery, "no").await;
    }
    let letters = peer.letters(10).await;
    assert!(peer.drop_letter(letters[0].0).await);
    assert!(!peer.drop_letter(letters[0].0).await);
    assert!(!peer.retry(letters[0].0).await);
    assert_eq!(peer.letters(10).await, letters[1..]);
}

/// What a group has not been given, and what it has in hand, are counted one by one, over all partitions.
pub async fn the_lag_is_exact(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").slots(4).partitions([0, 1]).listen().await;
    for n in 0..10 {
        peer.fire_to(EVENT, n % 2, message(n.to_string())).await;
    }
    let taken = listener.take(4).await;
    assert_eq!(peer.lag("group").await, Lag::new(6, 4));
    listener.acknowledge([taken[0].id]).await;
    assert_eq!(peer.lag("group").await, Lag::new(6, 3));
    listener.stop().await;
    listener.release(ids(&taken[1..2])).await;
    assert_eq!(peer.lag("group").await, Lag::new(6, 3));
    listener.acknowledge(ids(&taken[2..])).await;
    assert_eq!(peer.lag("group").await, Lag::new(6, 1));
    // A group that begins now has nothing before it.
    let _late = peer.wish("late").partitions([0, 1]).listen().await;
    assert_eq!(peer.lag("late").await, Lag::default());
}

/// What was fired is shown whoever has read it, the newest first, from wherever one goes on.
pub async fn history_shows_the_newest_first_by_pages(case: Case) {
    let peer = case.connect();
    let mut fired = Vec::new();
    for n in 1..=10 {
        fired.push(peer.fire(n.to_string()).await);
    }
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let page = Page { before, limit: 4 };
        let page = soon("a page", peer.transport.log().history(EVENT, page)).await.expect("a page");
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 4);
        before = Some(last.id);
        seen.extend(page);
    }
    assert!(seen.iter().map(|stored| stored.id).eq(fired.into_iter().rev()));
    assert!(seen.iter().map(|stored| number(&stored.message)).eq((1..=10).rev()));
    assert!(seen.iter().all(|stored| stored.partition == 0));
    assert!(seen.is_sorted_by(|a, b| a.at >= b.at));
}

/// The slowest group, read or in hand, holds back what is forgotten.
pub async fn a_trim_forgets_nothing_that_a_group_has_not_done(case: Case) {
    let peer = case.connect();
    let mut fast = peer.wish("fast").listen().await;
    let mut slow = peer.wish("slow").slots(3).listen().await;
    peer.fire_all(1..=20).await;
    fast.handle_all(20).await;
    // 1 is done, 2 and 3 in hand, the rest unread.
    let taken = slow.take(3).await;
    slow.acknowledge([taken[0].id]).await;
    let trimmed = peer.trim(retention(0, 1_000)).await;
    assert_eq!((trimmed.kept, trimmed.lost, trimmed.behind), (19, 0, vec![]));
    assert_eq!(peer.kept().await, (2..=20).rev().collect::<Vec<_>>());

    slow.acknowledge(ids(&taken[1..])).await;
    drop(taken);
    assert_eq!(slow.handle_all(17).await, (4..=20).collect::<Vec<_>>());
    assert_eq!(peer.trim(retention(0, 1_000)).await.kept, 0);
    assert!(peer.kept().await.is_empty());
    peer.fire("21").await;
    assert_eq!((fast.handle().await, slow.handle().await), (21, 21));
}

/// So many are kept to be looked at, though all have them.
pub async fn a_trim_keeps_history(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    peer.fire_all(1..=20).await;
    listener.handle_all(20).await;
    assert_eq!(peer.trim(retention(7, 1_000)).await.kept, 7);
    assert_eq!(peer.kept().await, (14..=20).rev().collect::<Vec<_>>());
}

/// Whatever is beyond the cap goes, and it is told how much of that was not done, and by whom.
pub async fn a_cap_cuts_and_says_who_was_behind(case: Case) {
    let peer = case.connect();
    let mut fast = peer.wish("fast").listen().await;
    let mut behind = peer.wish("behind").slots(2).listen().await;
    let mut further = peer.wish("further-behind").slots(1).listen().await;
    peer.fire_all(1..=20).await;
    fast.handle_all(20).await;
    let taken = behind.take(2).await;
    behind.acknowledge(ids(&taken)).await;
    let _held = further.next().await;
    let trimmed = peer.trim(retention(0, 15)).await;
    // Of 1 to 5, one has done two and the other none.
    assert_eq!((trimmed.kept, trimmed.lost), (15, 5));
    assert_eq!(trimmed.behind, ["behind", "further-behind"]);
    assert_eq!(peer.kept().await, (6..=20).rev().collect::<Vec<_>>());
    assert_eq!(peer.lag("behind").await, Lag::new(15, 0));
}

/// Who was behind goes on with what is left.
pub async fn what_has_been_cut_does_not_come(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").slots(1).listen().await;
    peer.fire_all(1..=10).await;
    let held = listener.next().await;
    assert_eq!(number(&held.message), 1);
    assert_eq!(peer.trim(retention(0, 4)).await.kept, 4);
    listener.acknowledge([held.id]).await;
    drop(held);
    assert_eq!(listener.handle_all(4).await, [7, 8, 9, 10]);
    assert_eq!(peer.lag("group").await, Lag::default());
}

/// A group that is forgotten is none of those that something is kept for.
pub async fn a_group_that_is_forgotten_holds_nothing_back(case: Case) {
    let peer = case.connect();
    let mut stays = peer.wish("stays").listen().await;
    let goes = peer.wish("goes").slots(1).listen().await;
    peer.fire_all(1..=5).await;
    stays.handle_all(5).await;
    goes.stop().await;
    goes.die();
    assert_eq!(peer.trim(retention(0, 1_000)).await.kept, 5);
    assert!(peer.forget("goes").await);
    assert!(!peer.forget("goes").await);
    assert_eq!(peer.trim(retention(0, 1_000)).await.kept, 0);
    let groups = soon("the groups", peer.transport.log().groups(EVENT)).await.expect("the groups");
    assert_eq!(groups, ["stays"]);
}

/// Whoever looks finds the same order each time.
pub async fn events_and_groups_are_listed_sorted(case: Case) {
    let peer = case.connect();
    let mut kept = Vec::new();
    for event in ["conformance.b", "conformance.c", "conformance.a"] {
        for group in ["y", "z", "x"] {
            kept.push(peer.wish(group).event(event).listen().await);
        }
    }
    peer.fire_to("conformance.d", 0, message("1")).await;
    let log = peer.transport.log();
    let events = soon("the events", log.events()).await.expect("the events");
    assert_eq!(events, ["conformance.a", "conformance.b", "conformance.c", "conformance.d"]);
    let groups = soon("the groups", log.groups("conformance.b")).await.expect("the groups");
    assert_eq!(groups, ["x", "y", "z"]);
}

/// And to ask makes nothing.
pub async fn of_what_is_not_there_there_is_nothing(case: Case) {
    let peer = case.connect();
    assert_eq!(peer.lag("group").await, Lag::default());
    assert!(peer.kept().await.is_empty());
    assert_eq!(peer.letters(10).await, []);
    assert_eq!(peer.letter_count().await, 0);
    assert!(!peer.retry(EventId(1, 1)).await);
    assert!(!peer.drop_letter(EventId(1, 1)).await);
    assert!(!peer.forget("group").await);
    assert_eq!(peer.trim(retention(0, 10)).await, Trimmed::default());
    let log = peer.transport.log();
    assert_eq!(soon("the groups", log.groups(EVENT)).await, Ok(vec![]));
    assert_eq!(soon("the events", log.events()).await, Ok(vec![]));
}

//! Partitions: streams that events are spread over, each in order.

use super::Case;
use super::listener::{ids, numbers};
use super::peer::{EVENT, Peer, message};

async fn fire(peer: &Peer, partition: u16, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        peer.fire_to(EVENT, partition, message(number.to_string())).await;
    }
}

/// Each consumer gets what is in its partitions.
pub async fn who_reads_a_partition_gets_only_what_is_in_it(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut even = a.wish("group").partitions([0]).listen().await;
    let mut odd = b.wish("group").partitions([1]).listen().await;
    for n in 1..=20 {
        fire(&a, (n % 2) as u16, [n]).await;
    }
    assert_eq!(odd.handle_all(10).await, (1..=20).step_by(2).collect::<Vec<_>>());
    assert_eq!(even.handle_all(10).await, (2..=20).step_by(2).collect::<Vec<_>>());
    assert_eq!(a.lag("group").await, Default::default());
}

/// A consumer of several partitions gets all that is in them, each in order.
pub async fn each_partition_stays_in_order(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").partitions(0..8).slots(4).listen().await;
    for n in 0..160 {
        fire(&peer, (n % 8) as u16, [n]).await;
    }
    let mut by_partition = vec![Vec::new(); 8];
    for _ in 0..160 {
        let delivery = listener.next().await;
        let partition = usize::from(delivery.id.partition);
        by_partition[partition].extend(numbers(&[delivery]));
    }
    for (partition, got) in by_partition.into_iter().enumerate() {
        assert_eq!(got, (partition as u64..160).step_by(8).collect::<Vec<_>>());
    }
}

/// Nobody has to fire anything for that.
pub async fn what_waits_in_all_partitions_comes_to_who_comes_late(case: Case) {
    let peer = case.connect();
    for n in 0..40 {
        fire(&peer, (n % 8) as u16, [n]).await;
    }
    let mut listener = peer.wish("group").partitions(0..8).since_start().slots(3).listen().await;
    let mut got = listener.handle_all(40).await;
    got.sort_unstable();
    assert_eq!(got, (0..40).collect::<Vec<_>>());
}

/// Whoever leases a partition gets first, in order, what the one before had not done, and then the rest.
pub async fn a_partition_that_is_leased_anew_brings_what_was_in_hand_first(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut before = a.wish("group").partitions([3, 4]).leased().slots(4).listen().await;
    fire(&a, 3, 1..=4).await;
    let taken = before.take(4).await;
    before.acknowledge([taken[0].id]).await;
    fire(&a, 3, 5..=6).await;

    let mut after = b.wish("group").partitions([3]).leased().listen().await;
    let got = after.take(5).await;
    assert_eq!(numbers(&got), [2, 3, 4, 5, 6]);
    assert_eq!(got.iter().map(|it| it.deliveries).collect::<Vec<_>>(), [2, 2, 2, 1, 1]);
    assert_eq!(before.renew(ids(&taken[1..])).await, ids(&taken[1..]));
    assert_eq!(after.renew(ids(&got)).await, []);
    after.acknowledge(ids(&got)).await;
    assert_eq!(a.lag("group").await, Default::default());
}

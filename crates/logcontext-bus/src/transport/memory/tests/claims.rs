//! Claims and leases, by a clock that stands still.

use std::time::Duration;

use super::on_a_stopped_clock;

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
fn who_was_alone_claims_from_who_came_later() {
    on_a_stopped_clock(|case| async move {
        let claim_after = Duration::from_secs(40);
        let (a, b) = (case.connect(), case.connect());
        let mut first = a.wish("group").slots(0).claim_after(claim_after).listen().await;
        // Its sweep has nobody to take from, and waits for somebody.
        tokio::task::yield_now().await;
        let mut later = b.wish("group").slots(1).claim_after(claim_after).listen().await;
        a.fire("0").await;
        let taken = later.next().await;
        first.slots.add_permits(1);
        assert_eq!((first.next().await.id, later.renew([taken.id]).await), (taken.id, vec![taken.id]));
    });
}

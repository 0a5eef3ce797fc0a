//! Events come to each group, at least once, in order.

use std::collections::BTreeSet;

use super::Case;
use super::peer::{EVENT, message, number};

/// Each group gets each event, in the order they were fired, for the first time.
pub async fn each_group_gets_each_event(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut listeners = [a.wish("first").listen().await, b.wish("second").listen().await];
    a.fire_all(1..=30).await;
    for listener in &mut listeners {
        for expected in 1..=30 {
            let delivery = listener.next().await;
            assert_eq!((number(&delivery.message), delivery.deliveries), (expected, 1));
            assert_eq!(delivery.message, message(expected.to_string()));
            listener.acknowledge([delivery.id]).await;
        }
    }
    for group in ["first", "second"] {
        assert_eq!(a.lag(group).await, Default::default());
    }
}

/// In one group, each event comes to one consumer.
pub async fn one_consumer_of_a_group_gets_each_event(case: Case) {
    let peers = [case.connect(), case.connect()];
    let mut a = peers[0].wish("group").slots(3).listen().await;
    let mut b = peers[1].wish("group").slots(3).listen().await;
    let fired = 60;
    let fire = peers[0].fire_all(1..=fired);
    let handle = async {
        let mut got = Vec::new();
        while got.len() < fired as usize {
            let (by, delivery) = tokio::select! {
                delivery = a.next() => (&a, delivery),
                delivery = b.next() => (&b, delivery),
            };
            by.acknowledge([delivery.id]).await;
            got.push(number(&delivery.message));
        }
        got
    };
    let ((), mut got) = tokio::join!(fire, handle);
    got.sort_unstable();
    assert_eq!(got, (1..=fired).collect::<Vec<_>>());
    assert_eq!(peers[0].lag("group").await, Default::default());
}

/// A new group gets what is fired once listening has begun, and nothing from before.
pub async fn who_listens_from_now_on_gets_what_is_fired_afterwards(case: Case) {
    let peer = case.connect();
    peer.fire_all(1..=3).await;
    let mut listener = peer.wish("group").listen().await;
    peer.fire_all(4..=5).await;
    assert_eq!(listener.handle_all(2).await, [4, 5]);
}

/// Or all that is kept, first.
pub async fn who_listens_from_the_start_gets_all_that_is_kept(case: Case) {
    let peer = case.connect();
    peer.fire_all(1..=3).await;
    let mut listener = peer.wish("group").since_start().listen().await;
    peer.fire_all(4..=5).await;
    assert_eq!(listener.handle_all(5).await, [1, 2, 3, 4, 5]);
}

/// A group that is known gets what was fired while nobody was there, wherever it is asked to begin.
pub async fn a_group_that_is_known_goes_on_where_it_was(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut listener = a.wish("group").listen().await;
    a.fire_all(1..=2).await;
    assert_eq!(listener.handle_all(2).await, [1, 2]);
    listener.stop().await;
    listener.die();

    a.fire_all(3..=4).await;
    let mut listener = b.wish("group").listen().await;
    assert_eq!(listener.handle_all(2).await, [3, 4]);
    listener.stop().await;
    listener.die();

    a.fire_all(5..=6).await;
    let mut listener = a.wish("group").since_start().listen().await;
    assert_eq!(listener.handle_all(2).await, [5, 6]);
}

/// What is acknowledged is done, even if its consumer dies right then.
pub async fn what_is_acknowledged_never_comes_again(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let soon = std::time::Duration::from_millis(500);
    let mut first = a.wish("group").claim_after(soon).listen().await;
    a.fire_all(1..=10).await;
    let taken = first.take(10).await;
    first.acknowledge(taken.iter().filter(|it| number(&it.message).is_multiple_of(2)).map(|it| it.id)).await;
    first.die();
    drop(taken);

    let mut second = b.wish("group").claim_after(soon).listen().await;
    a.fire("11").await;
    let mut got = second.handle_all(6).await;
    got.sort_unstable();
    assert_eq!(got, [1, 3, 5, 7, 9, 11]);
    assert_eq!(a.lag("group").await, Default::default());
}

/// A listener fires what it listens to, before it is done.
pub async fn who_listens_may_fire_what_it_listens_to(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").slots(1).listen().await;
    peer.fire("1").await;
    for expected in 1..=40 {
        let delivery = listener.next().await;
        assert_eq!(number(&delivery.message), expected);
        peer.fire((expected + 1).to_string()).await;
        listener.acknowledge([delivery.id]).await;
    }
}

/// Events of different names have nothing to do with each other.
pub async fn each_event_has_a_stream_of_its_own(case: Case) {
    let peer = case.connect();
    let mut one = peer.wish("group").listen().await;
    let mut other = peer.wish("group").event("conformance.other").listen().await;
    for n in 1..=5 {
        peer.fire_to("conformance.other", 0, message((n + 100).to_string())).await;
        peer.fire(n.to_string()).await;
    }
    assert_eq!(one.handle_all(5).await, [1, 2, 3, 4, 5]);
    assert_eq!(other.handle_all(5).await, [101, 102, 103, 104, 105]);
}

/// Buses that have different prefixes share nothing.
pub async fn each_prefix_is_a_world_of_its_own(case: Case) {
    let here = case.connect();
    let elsewhere = case.connect_with(|mut config| {
        config.prefix.push_str("-elsewhere");
        config
    });
    let mut near = here.wish("group").listen().await;
    let mut far = elsewhere.wish("group").listen().await;
    let mut server = here.serve(1).await;
    elsewhere.fire("1").await;
    here.fire("2").await;
    assert_eq!((near.handle().await, far.handle().await), (2, 1));
    assert!(elsewhere.call("3").await.was_unserved().await);
    let call = here.call("4").await;
    assert!(server.echo().await);
    assert_eq!(call.answer().await, message("4"));
}

/// In one partition, each event has a greater id than the one before, and is no older.
pub async fn ids_and_times_only_grow(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    let mut fired = Vec::new();
    for n in 1..=50 {
        fired.push(peer.fire(n.to_string()).await);
    }
    assert!(fired.is_sorted_by(|a, b| a < b), "{fired:?}");
    let taken = listener.take(50).await;
    assert!(taken.iter().map(|delivery| delivery.id.id).eq(fired));
    assert!(taken.is_sorted_by_key(|delivery| delivery.at));
}

/// No byte means anything to a transport.
pub async fn a_body_may_be_any_bytes(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    for body in bodies() {
        let expected = message(&body);
        peer.fire_to(EVENT, 0, expected.clone()).await;
        let delivery = listener.next().await;
        assert_eq!(delivery.message, expected);
        listener.acknowledge([delivery.id]).await;
    }
    let distinct: BTreeSet<_> = bodies().into_iter().collect();
    let kept: BTreeSet<_> = peer.newest(1_000).await.into_iter().map(|it| it.message.body.to_vec()).collect();
    assert_eq!(kept, distinct);
}

/// A body of 1 MiB, which is the longest by default.
pub async fn a_body_may_be_as_long_as_is_allowed(case: Case) {
    let peer = case.connect();
    let mut listener = peer.wish("group").listen().await;
    let sent = message(vec![b'x'; 1024 * 1024 - message("").len()]);
    peer.fire_to(EVENT, 0, sent.clone()).await;
    assert!(listener.next().await.message == sent, "it has changed on its way");
}

/// Bodies that are hard on whoever carries them.
pub(super) fn bodies() -> Vec<Vec<u8>> {
    let mut bodies: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        b"\n".to_vec(),
        b"\r\n$5\r\nhello\r\n".to_vec(),
        b"\"{}\\".to_vec(),
        vec![0xff, 0xfe, 0xc0, 0x80],
        (0..=255).collect(),
        b"a\nb\n\n".to_vec(),
    ];
    // The same ones each time.
    let mut random = fastrand::Rng::with_seed(17);
    bodies.extend((0..40).map(|_| {
        let length = random.usize(..200);
        (0..length).map(|_| random.u8(..)).collect()
    }));
    bodies
}

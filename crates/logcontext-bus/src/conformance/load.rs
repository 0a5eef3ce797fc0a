//! Many at once.

use std::collections::BTreeSet;
use std::time::Duration;

use logcontext::{Background, run_in_background};

use super::Case;
use super::case::soon;
use super::peer::number;
use crate::transport::Lane;

/// Waits for all of them.
async fn all<T>(running: Vec<Background<T>>) -> Vec<T> {
    let mut done = Vec::with_capacity(running.len());
    for one in running {
        done.push(soon("one of many is done", one).await.expect("it is done"));
    }
    done
}

/// What many fire at once, each group gets once, and of each who fired in order.
pub async fn publishers_side_by_side_lose_and_double_nothing(case: Case) {
    let reader = case.connect();
    let mut listeners = [reader.wish("a").slots(7).listen().await, reader.wish("b").listen().await];
    let publishers = (0..8).map(|publisher| {
        let peer = case.connect();
        run_in_background(async move { peer.fire_all((0..50).map(|n| publisher * 1_000 + n)).await })
    });
    let publishers: Vec<_> = publishers.collect();
    for listener in &mut listeners {
        let got = listener.handle_all(400).await;
        for publisher in 0..8 {
            let of_one: Vec<u64> = got.iter().copied().filter(|n| n / 1_000 == publisher).collect();
            assert_eq!(of_one, (0..50).map(|n| publisher * 1_000 + n).collect::<Vec<_>>());
        }
    }
    all(publishers).await;
    for group in ["a", "b"] {
        assert_eq!(reader.lag(group).await, Default::default());
    }
}

/// Consumers that die at whatever point, one after the other, while events are fired.
pub async fn consumers_that_come_and_go_lose_nothing(case: Case) {
    let claim_after = Duration::from_millis(500);
    let keeper = case.connect();
    let mut last = keeper.wish("group").slots(2).claim_after(claim_after).listen().await;
    let publisher = case.connect();
    let publisher = run_in_background(async move { publisher.fire_all(0..200).await });
    let mortals = (0..6).map(|mortal| {
        let case = case.clone();
        run_in_background(async move {
            let mut done = Vec::new();
            for life in 0..4 {
                let peer = case.connect();
                let mut listener = peer.wish("group").slots(3).claim_after(claim_after).listen().await;
                for handled in 0..(mortal + life) % 4 {
                    let Ok(Some(delivery)) =
                        tokio::time::timeout(Duration::from_millis(200), listener.deliveries.recv()).await
                    else {
                        break;
                    };
                    if handled % 2 == 0 {
                        listener.acknowledge([delivery.id]).await;
                        done.push(number(&delivery.message));
                    }
                }
            }
            done
        })
    });
    let mortals: Vec<_> = mortals.collect();
    let mut done: BTreeSet<u64> = BTreeSet::new();
    let by_mortals = all(mortals);
    tokio::pin!(by_mortals);
    let mut are_gone = false;
    while !are_gone || done.len() < 200 {
        tokio::select! {
            delivery = last.next(), if done.len() < 200 => {
                last.acknowledge([delivery.id]).await;
                done.insert(number(&delivery.message));
            }
            by_mortals = &mut by_mortals, if !are_gone => {
                are_gone = true;
                done.extend(by_mortals.into_iter().flatten());
            }
        }
    }
    all(vec![publisher]).await;
    assert_eq!(done, (0..200).collect());
    assert_eq!(keeper.lag("group").await, Default::default());
}

/// Each call of many clients comes to one of many servers, once, and its answer back.
pub async fn many_clients_and_many_servers(case: Case) {
    let mut servers = Vec::new();
    let (stop, _) = tokio::sync::broadcast::channel::<()>(1);
    for _ in 0..5 {
        let peer = case.connect();
        let mut server = peer.serve(4).await;
        let mut stopped = stop.subscribe();
        servers.push(run_in_background(async move {
            let mut came = Vec::new();
            loop {
                let call = tokio::select! {
                    call = server.calls.recv() => call.expect("the server lives"),
                    _ = stopped.recv() => break,
                };
                came.push(number(&call.message));
                assert!(server.reply(call.from, call.message).await);
            }
            drop(peer);
            came
        }));
    }
    let clients = (0..30).map(|client| {
        let peer = case.connect();
        run_in_background(async move {
            for n in 0..20 {
                let lane = if n % 3 == 0 { Lane::Nested } else { Lane::First };
                let sent = client * 1_000 + n;
                let call = peer.call_by(lane, sent.to_string()).await;
                assert_eq!(number(&call.answer().await), sent);
            }
        })
    });
    all(clients.collect()).await;
    drop(stop);
    let mut came: Vec<u64> = all(servers).await.into_iter().flatten().collect();
    came.sort_unstable();
    assert_eq!(came, (0..30).flat_map(|client| (0..20).map(move |n| client * 1_000 + n)).collect::<Vec<_>>());
}

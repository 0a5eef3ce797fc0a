//! What a broker's troubles do, where it can be troubled.

use std::collections::BTreeSet;
use std::time::Duration;

use logcontext::run_in_background;

use super::case::soon;
use super::peer::{EVENT, message, number};
use super::{Case, Trouble};
use crate::transport::{Publish, TransportError};
use crate::waits::Told;

/// What was stored is there afterwards, who listens goes on by itself, and what was done stays done.
pub async fn a_restart_loses_no_event(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let claim_after = Duration::from_secs(1);
    let mut listener = b.wish("group").slots(5).claim_after(claim_after).listen().await;
    a.fire_all(0..50).await;
    let done = listener.handle_all(10).await;
    if !case.trouble(Trouble::Restart).await {
        return;
    }
    let mut got: BTreeSet<u64> = BTreeSet::new();
    while got.len() < 40 {
        got.insert(listener.handle().await);
    }
    assert!(got.is_disjoint(&done.into_iter().collect()));
    assert_eq!(got, (10..50).collect());
    a.fire("50").await;
    assert_eq!(listener.handle().await, 50);
    assert_eq!(a.lag("group").await, Default::default());
    assert!(b.transport.status().reconnects > 0);
    assert_eq!(b.transport.status().connected, Ok(()));
}

/// Calls under way are lost, and are said to be; servers serve again without being asked.
pub async fn a_restart_ends_calls_and_serving_goes_on(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(4).await;
    let call = caller.call("1").await;
    let _begun = server.next().await;
    if !case.trouble(Trouble::Restart).await {
        return;
    }
    let became = call.became().await;
    assert!(matches!(became, Told::Lost(_)), "{became:?}");
    soon("a connection", caller.transport.connected()).await.expect("a connection");
    // Until the server is there again nobody serves it.
    let answered = async {
        loop {
            let (outgoing, call) =
                caller.outgoing(super::peer::RPC, crate::transport::Lane::First, message("2"));
            if caller.transport.calls().call(outgoing).await.is_err() {
                continue;
            }
            if let Told::Answer(answer) = call.became().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    let serve = async {
        loop {
            let call = server.next().await;
            let _ = service.transport.calls().reply(call.from, call.message).await;
        }
    };
    tokio::select! {
        answer = soon("it is served again", answered) => assert_eq!(answer, message("2")),
        () = serve => unreachable!("it serves for ever"),
    }
}

/// What was not sent yet waits, and is sent once.
pub async fn what_is_fired_while_the_line_is_cut_is_stored_once(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut listener = b.wish("group").listen().await;
    a.fire("0").await;
    assert_eq!(listener.handle().await, 0);
    if !case.trouble(Trouble::Cut).await {
        return;
    }
    // Its loss is seen before anything is sent.
    let seen = async {
        while a.transport.status().connected.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon("the cut is seen", seen).await;
    let fire = a.fire_all(1..=20);
    tokio::pin!(fire);
    let is_pending =
        std::future::poll_fn(|cx| std::task::Poll::Ready(fire.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending, "there is nobody who could have it");
    assert!(case.trouble(Trouble::Restore).await);
    fire.await;
    assert_eq!(listener.handle_all(20).await, (1..=20).collect::<Vec<_>>());
    assert_eq!(a.newest(100).await.len(), 21);
}

/// More than a queue holds wait for a place, in order, and all get one.
pub async fn a_queue_that_is_full_holds_its_callers(case: Case) {
    let a = case.connect_with(|mut config| {
        config.queue = 5;
        config
    });
    soon("a connection", a.transport.connected()).await.expect("a connection");
    let _group = a.wish("group").listen().await;
    if !case.trouble(Trouble::Cut).await {
        return;
    }
    let mut fired = Vec::new();
    for n in 0..30 {
        let transport = std::sync::Arc::clone(&a.transport);
        fired.push(run_in_background(async move {
            // What was under way when the line was cut may be lost: it is fired again.
            loop {
                let publish = Publish { event: EVENT, partition: 0, message: message(n.to_string()) };
                match transport.events().publish(publish).await {
                    Err(TransportError::Lost(_)) => {}
                    other => break assert_eq!(other.map(drop), Ok(())),
                }
            }
        }));
    }
    // It may be full for a moment before the client has seen that the line is cut.
    let full = async {
        loop {
            let status = a.transport.status();
            if status.is_full && status.connected.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("the queue is full, and there is no line", full).await;
    assert!(case.trouble(Trouble::Restore).await);
    for one in fired {
        soon("it is stored", one).await.expect("it is stored");
    }
    let kept: BTreeSet<u64> = a.newest(1_000).await.iter().map(|stored| number(&stored.message)).collect();
    assert_eq!(kept, (0..30).collect());
    assert!(!a.transport.status().is_full);
}

/// What was done while there was no line is told to the broker when there is one.
pub async fn acknowledgements_outlive_a_cut(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let claim_after = Duration::from_secs(2);
    let mut listener = a.wish("group").slots(10).claim_after(claim_after).listen().await;
    a.fire_all(0..10).await;
    let taken = listener.take(10).await;
    if !case.trouble(Trouble::Cut).await {
        return;
    }
    let ids = super::listener::ids(&taken);
    let acknowledged = listener.subscription.acknowledge(ids);
    let restore = case.trouble(Trouble::Restore);
    let (acknowledged, _) = tokio::join!(soon("it is acknowledged", acknowledged), restore);
    acknowledged.expect("it is acknowledged");
    assert_eq!(b.lag("group").await, Default::default());
    drop(taken);
    b.fire("10").await;
    assert_eq!(listener.handle().await, 10);
}

/// Who waits for an answer need not wait until its time is over.
pub async fn a_cut_ends_calls_at_once(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(1).await;
    let calls = [caller.call("1").await, caller.call("2").await];
    let _begun = server.next().await;
    if !case.trouble(Trouble::Cut).await {
        return;
    }
    for call in calls {
        let became = call.became().await;
        assert!(matches!(became, Told::Lost(_)), "{became:?}");
    }
    assert!(case.trouble(Trouble::Restore).await);
    soon("a connection", caller.transport.connected()).await.expect("a connection");
}

/// All that was sent is done once it goes on.
pub async fn a_frozen_broker_delays_and_loses_nothing(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    let mut listener = b.wish("group").listen().await;
    a.fire_all(0..5).await;
    if !case.trouble(Trouble::Freeze).await {
        return;
    }
    let fire = a.fire_all(5..25);
    tokio::pin!(fire);
    let is_pending =
        std::future::poll_fn(|cx| std::task::Poll::Ready(fire.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending, "it answers nothing");
    assert!(case.trouble(Trouble::Thaw).await);
    fire.await;
    let mut got: BTreeSet<u64> = BTreeSet::new();
    while got.len() < 25 {
        got.insert(listener.handle().await);
    }
    assert_eq!(got, (0..25).collect());
}

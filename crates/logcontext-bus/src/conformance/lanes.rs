//! Two lanes: nested calls never wait for a slot, and are served to the last.

use std::collections::BTreeSet;

use super::Case;
use super::peer::{message, number};
use crate::transport::Lane;

/// All slots are taken, and nested calls come all the same.
pub async fn nested_calls_need_no_slot(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(1).await;
    let _first = caller.call("1").await;
    let held = server.next().await;
    let mut nested = Vec::new();
    for n in 0..50 {
        nested.push(caller.call_by(Lane::Nested, n.to_string()).await);
    }
    let mut came = Vec::new();
    for _ in 0..50 {
        let call = server.next().await;
        assert!(call.slot.is_none());
        came.push(call);
    }
    for call in came {
        assert!(server.reply(call.from, call.message).await);
    }
    for (n, call) in nested.into_iter().enumerate() {
        assert_eq!(number(&call.answer().await), n as u64);
    }
    drop(held);
}

/// Calls that wait for a slot wait for that of any server, also of one that comes later.
pub async fn a_server_that_comes_takes_what_waits(case: Case) {
    let (caller, a, b) = (case.connect(), case.connect(), case.connect());
    let _busy = a.serve(0).await;
    let calls = [caller.call("0").await, caller.call("1").await, caller.call("2").await];
    let mut server = b.serve(1).await;
    for (n, call) in calls.into_iter().enumerate() {
        assert!(server.echo().await);
        assert_eq!(number(&call.answer().await), n as u64);
    }
}

/// A first lane that nobody works off, with more in it than a queue holds, is in no nested call's way.
pub async fn a_first_lane_that_is_full_holds_up_no_nested_call(case: Case) {
    let caller = case.connect_with(|mut config| {
        config.queue = 5;
        config
    });
    let service = case.connect();
    let mut server = service.serve(0).await;
    // Those that have no place wait to be sent: polled once, they stand in line.
    let mut sent = Vec::new();
    let mut sending = Vec::new();
    for n in 0..20 {
        let (outgoing, call) = caller.outgoing(super::peer::RPC, Lane::First, message(n.to_string()));
        let mut send = caller.transport.calls().call(outgoing);
        let waits =
            std::future::poll_fn(|cx| std::task::Poll::Ready(send.as_mut().poll(cx).is_pending())).await;
        sent.push(call);
        sending.extend(waits.then_some(send));
    }
    for n in 0..30 {
        let call = caller.call_by(Lane::Nested, n.to_string()).await;
        assert!(server.echo().await);
        assert_eq!(number(&call.answer().await), n);
    }
    // Once there are slots, all of them come.
    server.slots.add_permits(3);
    let serve = async {
        let mut came = BTreeSet::new();
        while came.len() < 20 {
            let call = server.next().await;
            assert!(came.insert(number(&call.message)), "it has come twice");
            assert!(server.reply(call.from, call.message).await);
        }
        came
    };
    let send = async {
        for send in sending {
            super::case::soon("a call is sent", send).await.expect("a call is sent");
        }
    };
    let (came, ()) = tokio::join!(serve, send);
    assert_eq!(came, (0..20).collect());
    for (n, call) in sent.into_iter().enumerate() {
        assert_eq!(number(&call.answer().await), n as u64);
    }
}

/// Who drains leaves first calls to others, and still serves what handlers wait for.
pub async fn who_stops_the_first_lane_still_serves_nested_calls(case: Case) {
    let (caller, a, b) = (case.connect(), case.connect(), case.connect());
    let mut stopping = a.serve(5).await;
    stopping.stop_first().await;
    assert!(caller.call("0").await.was_unserved().await);
    let nested = caller.call_by(Lane::Nested, "1").await;
    assert!(stopping.echo().await);
    assert_eq!(nested.answer().await, message("1"));

    let mut other = b.serve(5).await;
    for n in 0..10 {
        let call = caller.call(n.to_string()).await;
        assert!(other.echo().await);
        assert_eq!(number(&call.answer().await), n);
    }
    assert!(stopping.calls.try_recv().is_err());
}

/// After a stop, all calls of both lanes go to others.
pub async fn who_stops_gets_nothing_more(case: Case) {
    let (caller, a, b) = (case.connect(), case.connect(), case.connect());
    let mut stopped = a.serve(5).await;
    let mut other = b.serve(5).await;
    stopped.stop().await;
    for n in 0..10 {
        for lane in [Lane::First, Lane::Nested] {
            let call = caller.call_by(lane, n.to_string()).await;
            assert!(other.echo().await);
            assert_eq!(number(&call.answer().await), n);
        }
    }
    assert!(stopped.calls.try_recv().is_err());
}

/// While one stops, each call comes to it or to another, and to one only.
pub async fn a_stop_loses_no_call(case: Case) {
    let (caller, a, b) = (case.connect(), case.connect(), case.connect());
    let mut stopping = a.serve(4).await;
    let mut other = b.serve(4).await;
    let call_all = async {
        let mut calls = Vec::new();
        for n in 0..60 {
            let lane = if n % 2 == 0 { Lane::First } else { Lane::Nested };
            calls.push(caller.call_by(lane, n.to_string()).await);
        }
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(number(&call.answer().await), n as u64);
        }
    };
    let serve_all = async {
        let mut came = BTreeSet::new();
        for n in 0.. {
            let call = tokio::select! {
                call = stopping.next(), if n < 10 => call,
                call = other.next() => call,
            };
            assert!(came.insert(number(&call.message)), "it has come twice");
            assert!(other.reply(call.from, call.message).await);
            if n == 9 {
                stopping.stop().await;
                while let Ok(call) = stopping.calls.try_recv() {
                    assert!(came.insert(number(&call.message)), "it has come twice");
                    assert!(stopping.reply(call.from, call.message).await);
                }
            }
            if came.len() == 60 {
                return;
            }
        }
    };
    tokio::join!(call_all, serve_all);
    assert!(stopping.calls.try_recv().is_err());
}

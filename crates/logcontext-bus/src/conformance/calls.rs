//! Calls come to one server, at most once, and their answers to who has called.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Case;
use super::case::soon;
use super::events::bodies;
use super::peer::{RPC, message, number};
use crate::transport::{Lane, ReplyTo};
use crate::waits::Told;

/// By either lane, and also by who calls itself.
pub async fn a_call_is_answered(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(2).await;
    for peer in [&caller, &service] {
        for lane in [Lane::First, Lane::Nested] {
            let call = peer.call_by(lane, "question").await;
            let came = server.next().await;
            assert_eq!(came.message, message("question"));
            assert_eq!(came.from, ReplyTo { client: Arc::clone(&peer.identity), call: call.number });
            assert_eq!(came.slot.is_some(), lane == Lane::First);
            assert!(server.reply(came.from, message("answer")).await);
            assert_eq!(call.answer().await, message("answer"));
        }
    }
}

/// Before anybody serves it, once nobody does any more, and for other calls than the one that is served.
pub async fn nobody_serves_it_is_an_answer(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    for lane in [Lane::First, Lane::Nested] {
        assert!(caller.call_by(lane, "1").await.was_unserved().await);
        let mut server = service.serve(1).await;
        let call = caller.call_by(lane, "2").await;
        assert!(server.echo().await);
        assert_eq!(call.answer().await, message("2"));
        assert!(caller.call_to("conformance.other", lane, message("3")).await.was_unserved().await);
        server.stop().await;
        assert!(caller.call_by(lane, "4").await.was_unserved().await);
    }
}

/// Each call comes to one server; who has no slot leaves them to those that have.
pub async fn a_call_comes_to_one_server_with_a_slot(case: Case) {
    let caller = case.connect();
    let peers = [case.connect(), case.connect(), case.connect()];
    let mut servers = Vec::new();
    for peer in &peers {
        servers.push(peer.serve(5).await);
    }
    let mut calls = Vec::new();
    for n in 0..15 {
        calls.push(caller.call(n.to_string()).await);
    }
    let mut came = BTreeSet::new();
    let mut held = Vec::new();
    for server in &mut servers {
        for _ in 0..5 {
            let call = server.next().await;
            assert!(came.insert(number(&call.message)), "it has come twice");
            held.push(call);
        }
    }
    assert_eq!(came, (0..15).collect());
    // One more waits until any of them has a slot again.
    let waits = caller.call("15").await;
    let done = held.pop().expect("it is held");
    assert!(servers[0].reply(done.from, message("done")).await);
    drop(done.slot);
    assert_eq!(number(&servers[2].next().await.message), 15);
    caller.cancel(Lane::First, &waits);
}

/// Answers find their callers in whatever order they are given.
pub async fn each_caller_gets_its_own_answer(case: Case) {
    let clients = [case.connect(), case.connect()];
    let service = case.connect();
    let mut server = service.serve(40).await;
    let mut calls = Vec::new();
    for n in 0..40 {
        calls.push(clients[n % 2].call(n.to_string()).await);
    }
    let mut came = Vec::new();
    for _ in 0..40 {
        came.push(server.next().await);
    }
    while let Some(call) = came.pop() {
        assert!(server.reply(call.from, message((number(&call.message) * 2).to_string())).await);
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(number(&call.answer().await), n as u64 * 2);
    }
}

/// What waits for a slot never comes if nobody waits for it any more.
pub async fn a_call_that_is_not_begun_can_be_taken_back(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(1).await;
    let first = caller.call("1").await;
    let begun = server.next().await;
    let second = caller.call("2").await;
    caller.cancel(Lane::First, &second);
    // Once the broker has what its bus sent afterwards, it knows of it, however many connections it goes through.
    let later = [caller.call("3").await, caller.call("4").await];
    assert!(server.reply(begun.from, message("1")).await);
    drop(begun.slot);
    assert_eq!(first.answer().await, message("1"));
    for (call, body) in later.into_iter().zip(["3", "4"]) {
        assert!(server.echo().await);
        assert_eq!(call.answer().await, message(body));
    }
    assert!(server.calls.try_recv().is_err());
}

/// Of what is begun already, its handler is told, and no other.
pub async fn whoever_handles_a_call_is_told_that_nobody_waits(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(2).await;
    for lane in [Lane::First, Lane::Nested] {
        let [cancelled, kept] = [caller.call_by(lane, "1").await, caller.call_by(lane, "2").await];
        let mut came = Vec::new();
        for _ in 0..2 {
            let call = server.next().await;
            came.push((service.handling(&call.from), call));
        }
        came.sort_by_key(|(_, call)| number(&call.message));
        caller.cancel(lane, &cancelled);
        assert!(matches!(came[0].0.told().await, Told::Cancelled));
        for (_, call) in &came {
            server.reply(call.from.clone(), call.message.clone()).await;
        }
        assert_eq!(kept.answer().await, message("2"));
        assert!(came[1].0.was_told_nothing());
    }
}

/// An answer that nobody waits for is no error, and is known to be none.
pub async fn who_answers_learns_that_nobody_heard_it(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(2).await;
    let call = caller.call("1").await;
    let came = server.next().await;
    soon("a close", caller.transport.close(Duration::from_secs(10))).await;
    drop(call);
    // A broker need not know at once who has gone.
    let unheard = async { while server.reply(came.from.clone(), message("1")).await {} };
    soon("nobody hears it", unheard).await;
    let nobody = ReplyTo { client: "nobody/0".into(), call: 1 };
    assert!(!server.reply(nobody, message("1")).await);
}

/// Its age is that of its wait for a slot, so that its deadline can be kept.
pub async fn a_call_says_how_long_it_was_on_its_way(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(1).await;
    let _first = caller.call("1").await;
    let begun = server.next().await;
    let _second = caller.call("2").await;
    let sent = Instant::now();
    while sent.elapsed() < Duration::from_millis(50) {
        let nested = caller.call_by(Lane::Nested, "0").await;
        assert!(server.echo().await);
        nested.answer().await;
    }
    let waited = sent.elapsed();
    drop(begun.slot);
    let came = server.next().await;
    // Clocks of brokers may count in milliseconds.
    assert!(came.age + Duration::from_millis(5) >= waited, "{:?} of {waited:?}", came.age);
}

/// No byte means anything to a transport.
pub async fn a_request_and_its_answer_may_be_any_bytes(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(1).await;
    for body in bodies() {
        let call = caller.call(&body).await;
        let came = server.next().await;
        assert_eq!(came.message, message(&body));
        assert!(server.reply(came.from, came.message).await);
        assert_eq!(call.answer().await, message(&body));
    }
}

/// 1 MiB each, which is the longest by default.
pub async fn a_request_and_its_answer_may_be_as_long_as_is_allowed(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(1).await;
    let sent = message(vec![b'x'; 1024 * 1024 - message("").len()]);
    for lane in [Lane::First, Lane::Nested] {
        let call = caller.call_to(RPC, lane, sent.clone()).await;
        assert!(server.echo().await);
        assert!(call.answer().await == sent, "it has changed on its way");
    }
}

//! Events as users write them: on a bus, with listeners.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use logcontext::{FutureExt, LogContext, Request, current_context};
use tokio::sync::{Semaphore, mpsc};

use super::Case;
use super::case::soon;
use super::service::{Changed, Spread};
use crate::transport::{Page, Since};
use crate::{BusConfig, Delivered, FireError, ListenerState, OnError, Retry, StopReason};

/// What handlers tell the test.
struct Told<T>(mpsc::UnboundedReceiver<T>);

impl<T> Told<T> {
    async fn next(&mut self) -> T {
        soon("a handler runs", self.0.recv()).await.expect("a handler runs")
    }

    async fn take(&mut self, count: usize) -> Vec<T> {
        let mut told = Vec::with_capacity(count);
        while told.len() < count {
            told.push(self.next().await);
        }
        told
    }
}

fn tell<T>() -> (mpsc::UnboundedSender<T>, Told<T>) {
    let (tell, told) = mpsc::unbounded_channel();
    (tell, Told(told))
}

/// Each listener of each service handles each event once, in a context of its own that knows who has fired it.
pub async fn each_listener_handles_each_event_in_a_context_of_its_own(case: Case) {
    let (presence, sync, other) = (case.service("presence"), case.service("sync"), case.service("sync"));
    let (tell, mut told) = tell();
    for (service, name) in [(&presence, "sender"), (&sync, "sender"), (&other, "sender"), (&sync, "audit")] {
        let (tell, service_name) = (tell.clone(), service.supervisor.name().to_owned());
        let handler = move |event: Changed, about: Delivered| {
            let (tell, by) = (tell.clone(), format!("{service_name}:{name}"));
            async move {
                let context = current_context();
                let started_by = context.started_by().map(str::to_owned);
                let _ = tell.send((by, event.n, context.name().to_owned(), started_by, about.deliveries()));
            }
        };
        service.bus.listen(name, handler).start().await.expect("it listens");
    }
    let request = LogContext::builder("PUT-17").request(Request::new("PUT", "/presence/alice").id("r-17"));
    presence.fire_all("alice", 0..10).in_context(request.start()).await;
    let mut by: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (listener, n, context, started_by, deliveries) in told.take(30).await {
        let name = listener.split_once(':').expect("its service").1;
        assert!(context.starts_with(&format!("conformance.changed-{name}-")), "{context}");
        assert_eq!((started_by.as_deref(), deliveries), (Some("PUT-17"), 1));
        by.entry(listener).or_default().push(n);
    }
    for (group, mut numbers) in by {
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>(), "{group}");
        presence.done("conformance.changed", &group).await;
    }
    for service in [presence, sync, other] {
        service.end().await;
    }
    assert!(told.0.try_recv().is_err());
}

/// A handler that fails is tried again, then its event is a dead letter; tried again, it is handled as if new.
pub async fn what_fails_is_tried_again_and_then_kept_as_a_dead_letter(case: Case) {
    let service = case.service("presence");
    let (tell, mut told) = tell();
    let is_well = Arc::new(AtomicU64::new(0));
    let well = Arc::clone(&is_well);
    let handler = move |event: Changed, about: Delivered| {
        let well = well.load(SeqCst);
        let _ = tell.send((event.n, about.attempt(), about.is_retried_dead_letter()));
        async move { if event.n == 1 && well == 0 { Err("it is not well") } else { Ok(()) } }
    };
    let pause = Duration::from_millis(1);
    let listen = service.bus.listen("sender", handler).retry(Retry::times(2).backoff(pause, pause)).slots(1);
    listen.start().await.expect("it listens");
    service.fire_all("alice", 1..=2).await;
    assert_eq!(told.take(4).await, [(1, 1, false), (1, 2, false), (1, 3, false), (2, 1, false)]);
    service.done("conformance.changed", "presence:sender").await;

    let letters = service.bus.dead_letters("conformance.changed", 10).await.expect("the dead letters");
    assert_eq!(letters.len(), 1);
    assert_eq!((&*letters[0].group, letters[0].deliveries), ("presence:sender", 1));
    assert!(letters[0].reason.contains("it is not well"), "{}", letters[0].reason);
    is_well.store(1, SeqCst);
    assert_eq!(service.bus.retry_dead_letter("conformance.changed", letters[0].id).await, Ok(true));
    assert_eq!(told.next().await, (1, 1, true));
    service.done("conformance.changed", "presence:sender").await;
    assert_eq!(service.bus.dead_letter_count("conformance.changed").await, Ok(0));
    service.end().await;
}

/// A listener that stops at a failure leaves the event to others of its group, and so it is lost to nobody.
pub async fn a_listener_that_stops_leaves_its_event_to_others(case: Case) {
    let (one, other) = (case.service("presence"), case.service("presence"));
    let handler = |_: Changed| async { Err::<(), _>("it cannot be") };
    let listen = one.bus.listen::<Changed>("sender", handler).on_error(OnError::StopListener);
    let listener = listen.start().await.expect("it listens");
    one.fire_all("alice", [7]).await;
    let stopped = soon("the listener stops", listener.stopped()).await;
    assert!(!matches!(stopped, StopReason::Asked), "{stopped:?}");
    assert!(matches!(listener.state(), ListenerState::Stopped(_)));

    let (tell, mut told) = tell();
    let handler = move |event: Changed, about: Delivered| {
        let _ = tell.send((event.n, about.deliveries()));
        async {}
    };
    other.bus.listen("sender", handler).start().await.expect("it listens");
    assert_eq!(told.next().await, (7, 2));
    other.done("conformance.changed", "presence:sender").await;
    one.end().await;
    other.end().await;
}

/// What one key has in common is handled in order, and no two of it at once; other keys do not wait for it.
pub async fn events_of_a_key_are_handled_in_order(case: Case) {
    let service = case.service("presence");
    let (tell, mut told) = tell();
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let handler = move |event: Changed| {
        let (tell, gate) = (tell.clone(), Arc::clone(&held));
        async move {
            if event.user == "held" {
                drop(gate.acquire_owned().await);
            }
            let _ = tell.send((event.user, event.n));
        }
    };
    let listen = service.bus.listen::<Changed>("sender", handler).in_order().slots(4).hold(64);
    listen.start().await.expect("it listens");
    for n in 0..15 {
        for user in ["held", "alice", "bob"] {
            service.fire_all(user, [n]).await;
        }
    }
    let mut orders: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (user, n) in told.take(30).await {
        orders.entry(user).or_default().push(n);
    }
    assert_eq!(orders.len(), 2, "{orders:?}");
    gate.add_permits(1);
    for (user, n) in told.take(15).await {
        orders.entry(user).or_default().push(n);
    }
    for (user, order) in orders {
        assert_eq!(order, (0..15).collect::<Vec<_>>(), "{user}");
    }
    service.end().await;
}

/// Several services share the partitions of an event and keep the order of each key, also when one of them goes.
pub async fn partitions_are_shared_and_keep_the_order_of_keys(case: Case) {
    let quick = |config| BusConfig { claim_after: Duration::from_secs(1), ..config };
    let services = [case.service_with("presence", quick), case.service_with("presence", quick)];
    let publisher = case.service("publisher");
    let (tell, mut told) = tell();
    for (by, service) in services.iter().enumerate() {
        let tell = tell.clone();
        let handler = move |event: Spread| {
            let _ = tell.send((by, event.user, event.n));
            async {}
        };
        let listen = service.bus.listen::<Spread>("sender", handler).partitioned();
        listen.start().await.expect("it listens");
    }
    let fire = async |numbers: std::ops::Range<u64>| {
        for n in numbers {
            for user in 0..6 {
                let event = Spread { user: format!("user-{user}"), n };
                publisher.bus.fire(&event).await.expect("it is fired");
            }
        }
    };
    fire(0..20).await;
    let mut orders: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (_, user, n) in told.take(120).await {
        orders.entry(user).or_default().push(n);
    }
    let [goes, stays] = services;
    goes.end().await;
    fire(20..40).await;
    for (by, user, n) in told.take(120).await {
        assert_eq!(by, 1);
        orders.entry(user).or_default().push(n);
    }
    assert_eq!(orders.len(), 6);
    for (user, order) in orders {
        assert_eq!(order, (0..40).collect::<Vec<_>>(), "{user}");
    }
    stays.done("conformance.spread", "presence:sender").await;
    stays.end().await;
    publisher.end().await;
}

/// A service that shuts down finishes what it handles, and leaves the rest to others.
pub async fn a_service_that_shuts_down_drains_and_leaves_the_rest(case: Case) {
    let (one, other) = (case.service("presence"), case.service("presence"));
    let publisher = case.service("publisher");
    let (tell, mut told) = tell();
    let gate = Arc::new(Semaphore::new(0));
    let (telling, held) = (tell.clone(), Arc::clone(&gate));
    let handler = move |event: Changed| {
        let (tell, gate) = (telling.clone(), Arc::clone(&held));
        async move {
            let _ = tell.send(("begins", event.n));
            drop(gate.acquire_owned().await);
            let _ = tell.send(("ends", event.n));
        }
    };
    one.bus.listen::<Changed>("sender", handler).slots(3).start().await.expect("it listens");
    publisher.fire_all("alice", 0..30).await;
    let begun = told.take(3).await;
    assert!(begun.iter().all(|(what, _)| *what == "begins"));
    let handler = move |event: Changed| {
        let _ = tell.send(("rest", event.n));
        async {}
    };
    other.bus.listen::<Changed>("sender", handler).start().await.expect("it listens");
    let end = one.end();
    let let_go = async { gate.add_permits(3) };
    let ((), ()) = tokio::join!(end, let_go);
    // Those that began have ended, none twice; what was left went to the other.
    let mut ended: Vec<u64> = Vec::new();
    let mut began = begun.len();
    while ended.len() < 30 {
        match told.next().await {
            ("begins", _) => began += 1,
            (_, n) => ended.push(n),
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..30).collect::<Vec<_>>());
    assert!(began >= 3);
    publisher.done("conformance.changed", "presence:sender").await;
    other.end().await;
    publisher.end().await;
}

/// A handler fires what it listens to, and its service ends all the same.
pub async fn a_handler_may_fire_what_it_handles(case: Case) {
    let service = case.service("presence");
    let (tell, mut told) = tell();
    let bus = service.bus.clone();
    let handler = move |event: Changed| {
        let (bus, tell) = (bus.clone(), tell.clone());
        async move {
            if event.n < 30 {
                bus.fire(&Changed { n: event.n + 1, ..event.clone() }).await?;
            }
            let _ = tell.send(event.n);
            Ok::<_, FireError>(())
        }
    };
    service.bus.listen::<Changed>("sender", handler).slots(1).start().await.expect("it listens");
    service.fire_all("alice", [0]).await;
    assert_eq!(told.take(31).await, (0..=30).collect::<Vec<_>>());
    service.done("conformance.changed", "presence:sender").await;
    service.end().await;
}

/// Handlers that block do it on threads of their own, and fire from there.
pub async fn a_blocking_handler_may_block(case: Case) {
    let service = case.service("presence");
    let (tell, mut told) = tell();
    let bus = service.bus.clone();
    let handler = move |event: Changed| {
        if event.n < 20 {
            bus.fire(&Changed { n: event.n + 1, ..event.clone() }).blocking()?;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime of its own");
        runtime.block_on(async { tell.send(event.n).expect("it is heard") });
        Ok::<_, FireError>(())
    };
    service.bus.listen_blocking::<Changed>("sender", handler).slots(1).start().await.expect("it listens");
    service.fire_all("alice", [0]).await;
    assert_eq!(told.take(21).await, (0..=20).collect::<Vec<_>>());
    service.done("conformance.changed", "presence:sender").await;
    service.end().await;
}

/// From the start, on what was fired before anybody listened; and how it is looked at.
pub async fn what_was_fired_is_shown_and_heard_from_the_start(case: Case) {
    let service = case.service("presence");
    service.fire_all("alice", 0..10).await;
    let page = Page { before: None, limit: 3 };
    let history = service.bus.history("conformance.changed", page).await.expect("the history");
    assert_eq!(
        history.iter().map(|past| &*past.body).collect::<Vec<_>>(),
        [r#"{"user":"alice","n":9}"#, r#"{"user":"alice","n":8}"#, r#"{"user":"alice","n":7}"#]
    );
    assert_eq!(history[0].sender.as_deref(), Some(service.bus.identity()));
    let (tell, mut told) = tell();
    let handler = move |event: Changed| {
        let _ = tell.send(event.n);
        async {}
    };
    let listen = service.bus.listen::<Changed>("sender", handler).since(Since::Start).in_order();
    listen.start().await.expect("it listens");
    assert_eq!(told.take(10).await, (0..10).collect::<Vec<_>>());
    service.done("conformance.changed", "presence:sender").await;
    service.end().await;
}

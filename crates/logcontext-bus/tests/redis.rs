//! What is Redis's own: a broker that forgets, that others write to, that refuses, that is not there.

#![cfg(feature = "redis")]

use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_bus::transport::{
    Connector, DeadLetter, Delivery, EventId, Inbox, Incoming, Lag, Lane, Link, Message, Outgoing, Page,
    Publish, Redis, Serve, Serving, Since, Subscribe, Subscription, Transport, TransportError,
};
use logcontext_bus::{Bus, BusConfig, CallError, Rpc};
use logcontext_testservers as servers;
use logcontext_testservers::Stop;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};

const EVENT: &str = "test.event";

/// Nothing here takes so long: a test that hangs is one that fails.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Serialize, Deserialize, JsonSchema)]
struct Double(u32);

impl Rpc for Double {
    const NAME: &str = "test.double";
    type Response = u32;
    type Error = String;
}

async fn double(Double(number): Double) -> Result<u32, String> {
    Ok(2 * number)
}

/// The test on a current-thread runtime and on one with two workers.
fn on_both<F: Future<Output = ()> + Send + 'static>(
    test: impl Fn(Arc<servers::Redis>) -> F,
    server: fn() -> servers::Redis,
) {
    for workers in [0, 2] {
        let guard = testing::start();
        let runtime = runtime(&guard, workers);
        let server = Arc::new(server());
        run(&runtime, test(server));
        runtime.block_on(guard.supervisor().shutdown(DEADLINE));
        drop(runtime);
        let supervisor = guard.supervisor();
        assert!(supervisor.running().is_empty(), "{:?}", supervisor.running());
    }
}

fn run<F: Future<Output = ()> + Send + 'static>(runtime: &Runtime, test: F) {
    let test = test.in_context(LogContext::new("test"));
    #[expect(clippy::disallowed_methods, reason = "it brings its context")]
    let task = runtime.spawn(test);
    runtime.block_on(async { task.await.expect("the test") });
}

fn runtime(guard: &Test, workers: usize) -> Runtime {
    let mut builder = if workers == 0 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(workers.max(1)).enable_all();
    builder.on_thread_start(guard.thread_start()).on_thread_park(logcontext::expect_sentinel).build().unwrap()
}

fn durable() -> servers::Redis {
    servers::Redis::start().unwrap()
}

fn forgetful() -> servers::Redis {
    servers::Redis::start_in_memory().unwrap()
}

/// What a bus of its own would have.
fn connect(url: &str) -> Arc<dyn Transport> {
    let config = BusConfig::new("test", url);
    let identity = format!("test/{:016x}", fastrand::u64(..)).into();
    let link =
        Link { config, identity, inbox: Arc::new(Inbox::default()), supervisor: Supervisor::current() };
    Redis::new(url).unwrap().connect(link).unwrap()
}

async fn bus(server: &servers::Redis) -> Bus {
    Bus::connect(&BusConfig::new("test", server.url())).await.unwrap()
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let watch = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(what, watch).await;
}

async fn fire(transport: &Arc<dyn Transport>, body: &str) -> Result<EventId, TransportError> {
    let message = Message { head: "{}".into(), body: body.to_owned().into() };
    soon("it is stored", transport.events().publish(Publish { event: EVENT, partition: 0, message })).await
}

struct Listener {
    subscription: Arc<dyn Subscription>,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
}

impl Listener {
    async fn start(transport: &Arc<dyn Transport>, slots: usize, claim_after: Duration) -> Self {
        let (sender, deliveries) = mpsc::unbounded_channel();
        let wish = Subscribe {
            event: EVENT.into(),
            group: "group".into(),
            partitions: vec![0],
            is_leased: false,
            with_retried: false,
            since: Since::Now,
            claim_after,
            slots: Arc::new(Semaphore::new(slots)),
            deliveries: sender,
        };
        let subscription = soon("it listens", transport.events().subscribe(wish)).await.unwrap();
        Self { subscription, deliveries }
    }

    async fn next(&mut self) -> Delivery {
        soon("an event comes", self.deliveries.recv()).await.unwrap()
    }

    async fn body(&mut self) -> String {
        let delivery = self.next().await;
        soon("it is done", self.subscription.acknowledge(vec![delivery.id])).await.unwrap();
        String::from_utf8(delivery.message.body.to_vec()).unwrap()
    }
}

async fn serve(
    transport: &Arc<dyn Transport>,
    slots: usize,
) -> (Arc<dyn Serving>, mpsc::UnboundedReceiver<Incoming>) {
    let (sender, calls) = mpsc::unbounded_channel();
    let wish = Serve { rpc: Double::NAME.into(), slots: Arc::new(Semaphore::new(slots)), calls: sender };
    (soon("it is served", transport.calls().serve(wish)).await.unwrap(), calls)
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_broker_that_has_forgotten_all_is_told_again() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        let mut listener = Listener::start(&transport, 4, DEADLINE).await;
        let bus = bus(&server).await;
        let served = bus.serve::<Double>(double).start().await.unwrap();
        fire(&transport, "1").await.unwrap();
        assert_eq!(listener.body().await, "1");
        assert_eq!(bus.call(Double(1)).await, Ok(2));

        let restarted = Arc::clone(&server);
        logcontext::spawn_blocking(move || restarted.restart()).await.unwrap();
        while fire(&transport, "2").await.is_err() {}
        assert_eq!(listener.body().await, "2");
        let again = async { while bus.call(Double(2)).await != Ok(4) {} };
        soon("it is served again", again).await;
        served.stop().await;
        assert_eq!(bus.call(Double(3)).await, Err(CallError::NoServer(Double::NAME)));
        transport.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn scripts_that_the_broker_has_lost_are_brought_again() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        let mut listener = Listener::start(&transport, 4, DEADLINE).await;
        fire(&transport, "1").await.unwrap();
        let id = listener.next().await.id;
        server.ask(&["SCRIPT", "FLUSH"]);
        assert_eq!(soon("it is renewed", listener.subscription.renew(vec![id])).await, Ok(Vec::new()));
        assert!(transport.status().reconnects > 0);
        transport.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn whoever_waits_is_told_when_the_last_server_stops() {
    let test = |server: Arc<servers::Redis>| async move {
        let (one, other, bus) = (connect(server.url()), connect(server.url()), bus(&server).await);
        let ((one_serves, _one_calls), (other_serves, _other_calls)) =
            (serve(&one, 0).await, serve(&other, 0).await);
        let call = logcontext::run_in_background(bus.call(Double(1)).deadline(DEADLINE).into_future());
        until("the call is stored", || server.ask(&["XLEN", "logcontext:call:test.double:first"]) == ["1"])
            .await;
        soon("it stops", one_serves.stop_first()).await.unwrap();
        assert_eq!(server.ask(&["XLEN", "logcontext:call:test.double:first"]), ["1"]);
        soon("it stops", other_serves.stop_first()).await.unwrap();
        assert_eq!(soon("it is told", call).await.unwrap(), Err(CallError::NoServer(Double::NAME)));
        assert_eq!(server.ask(&["EXISTS", "logcontext:call:test.double:first"]), ["0"]);
        assert_eq!(server.ask(&["EXISTS", "logcontext:call:test.double:nested"]), ["1"]);
        one.close(DEADLINE).await;
        other.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn what_dead_servers_have_served_goes_away_and_a_living_one_comes_back() {
    let test = |server: Arc<servers::Redis>| async move {
        let bus = bus(&server).await;
        let served = bus.serve::<Double>(double).start().await.unwrap();
        for key in ["logcontext:call:test.double:first", "logcontext:call:test.double:nested"] {
            let left: u64 = server.ask(&["PTTL", key])[0].parse().unwrap();
            assert!((1..=15_000).contains(&left), "{key} is gone in {left} ms");
            // As if its time was over.
            server.ask(&["DEL", key]);
        }
        let again = async { while bus.call(Double(2)).await != Ok(4) {} };
        soon("it is served again", again).await;
        served.stop().await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn calls_that_were_read_are_forgotten() {
    let test = |server: Arc<servers::Redis>| async move {
        let bus = bus(&server).await;
        let served = bus.serve::<Double>(double).start().await.unwrap();
        for round in 0..20 {
            let calls = (0..100).map(|n| logcontext::run_in_background(bus.call(Double(n)).into_future()));
            for (n, call) in calls.collect::<Vec<_>>().into_iter().enumerate() {
                assert_eq!(call.await.unwrap(), Ok(2 * n as u32), "{round}");
            }
        }
        let kept: u64 = server.ask(&["XLEN", "logcontext:call:test.double:first"])[0].parse().unwrap();
        // 256 before it is looked, 128 of the last read, 100 of a node that is not all over yet.
        assert!(kept <= 484, "{kept}");
        served.stop().await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn connections_are_as_many_whatever_is_in_flight_and_none_is_left() {
    let test = |server: Arc<servers::Redis>| async move {
        let clients = || server.ask(&["CLIENT", "LIST"])[0].lines().count() - 1;
        let bus = bus(&server).await;
        let slow = async |Double(n): Double| {
            tokio::task::yield_now().await;
            Ok(2 * n)
        };
        let served = bus.serve::<Double>(slow).start().await.unwrap();
        assert_eq!(bus.call(Double(1)).await, Ok(2));
        // Commands, and each lane.
        assert_eq!((bus.status().connections, clients()), (3, 3));
        let calls = (0..500).map(|n| logcontext::run_in_background(bus.call(Double(n)).into_future()));
        let calls: Vec<_> = calls.collect();
        assert_eq!(clients(), 3);
        for call in calls {
            call.await.unwrap().unwrap();
        }
        assert_eq!((bus.status().connections, clients()), (3, 3));
        served.stop().await;
        until("the lanes are closed", || clients() == 1).await;
        bus.close(DEADLINE).await;
        until("all is closed", || clients() == 0).await;
        assert_eq!(bus.status().connections, 0);
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_transport_that_is_dropped_leaves_no_connection() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        let listener = Listener::start(&transport, 4, DEADLINE).await;
        let (serving, _calls) = serve(&transport, 4).await;
        let clients = || server.ask(&["CLIENT", "LIST"])[0].lines().count() - 1;
        until("all are connected", || clients() == 4).await;
        drop(transport);
        until("all is closed", || clients() == 0).await;
        assert_eq!(listener.subscription.acknowledge(Vec::new()).await, Ok(()));
        assert_eq!(soon("it is closed", serving.stop()).await, Err(TransportError::Closed));
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn what_others_write_stops_nobody() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        let mut listener = Listener::start(&transport, 4, DEADLINE).await;
        let bus = bus(&server).await;
        let served = bus.serve::<Double>(double).start().await.unwrap();
        let events = "logcontext:event:test.event:0";
        server.ask(&["XADD", events, "*", "a", "b", "c", "d"]);
        server.ask(&["XADD", events, "*", "", ""]);
        let calls = "logcontext:call:test.double:first";
        for (field, value) in [("a", "b"), ("a:b", ""), ("", ""), (":1", "{}\n{}")] {
            server.ask(&["XADD", calls, "*", field, value]);
        }
        server.ask(&["XADD", calls, "*", "a:1", "b", "c:2", "d"]);
        let replies = format!("logcontext:reply:{}", bus.identity());
        for text in ["", "x", "1\n", "\n\n", "18446744073709551616"] {
            server.ask(&["PUBLISH", &replies, text]);
            server.ask(&["PUBLISH", "logcontext:cancel:test.double", text]);
        }
        assert_eq!(listener.body().await, "");
        assert_eq!(listener.body().await, "");
        fire(&transport, "1").await.unwrap();
        assert_eq!(listener.body().await, "1");
        assert_eq!(bus.call(Double(21)).await, Ok(42));
        served.stop().await;
        transport.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_password_is_used_and_never_shown() {
    let test = |server: Arc<servers::Redis>| async move {
        server.ask(&["CONFIG", "SET", "requirepass", "s3cret"]);
        let url = |password: &str| server.url().replace("redis://", &format!("redis://:{password}@"));
        let (wrong, right) = (connect(&url("gu3ss")), connect(&url("s3cret")));
        soon("it is connected", right.connected()).await.unwrap();
        fire(&right, "1").await.unwrap();
        until("it is refused", || {
            matches!(wrong.status().connected, Err(why) if why.contains("assword") || why.contains("uthentication"))
        })
        .await;
        for shown in [format!("{wrong:?} {:?}", wrong.status()), format!("{:?}", Redis::new(&url("gu3ss")))] {
            assert!(!shown.contains("gu3ss"), "{shown}");
        }
        wrong.close(Duration::ZERO).await;
        right.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn the_database_of_the_url_is_used() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(&format!("{}3", server.url()));
        let mut listener = Listener::start(&transport, 4, DEADLINE).await;
        fire(&transport, "1").await.unwrap();
        assert_eq!(listener.body().await, "1");
        let keyspace = server.ask(&["INFO", "keyspace"]).remove(0);
        assert!(keyspace.contains("db3:") && !keyspace.contains("db0:"), "{keyspace}");
        transport.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn what_the_broker_refuses_is_told_in_its_own_words() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        fire(&transport, "1").await.unwrap();
        server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        let refused = fire(&transport, "2").await;
        assert!(matches!(&refused, Err(TransportError::Refused(why)) if why.contains("OOM")), "{refused:?}");
        server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        fire(&transport, "3").await.unwrap();
        assert_eq!(transport.status().reconnects, 0);
        transport.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_line_that_is_dead_is_given_up() {
    let guard = testing::start();
    let runtime = runtime(&guard, 0);
    let server = forgetful();
    let line = servers::Link::to(server.url());
    run(&runtime, async move {
        let transport = connect(line.url());
        fire(&transport, "1").await.unwrap();
        // Nobody tells that it is dead. Time moves on, as there is nothing else to wait for.
        line.freeze();
        tokio::time::pause();
        let before = tokio::time::Instant::now();
        let lost = fire_without_deadline(&transport).await;
        assert!(before.elapsed() < Duration::from_secs(30), "given up after {:?}", before.elapsed());
        assert!(matches!(&lost, Err(TransportError::Lost(why)) if why.contains("no answer")), "{lost:?}");
        tokio::time::resume();
        line.thaw();
        soon("it is connected again", transport.connected()).await.unwrap();
        fire(&transport, "3").await.unwrap();
        transport.close(DEADLINE).await;
    });
}

async fn fire_without_deadline(transport: &Arc<dyn Transport>) -> Result<EventId, TransportError> {
    let message = Message { head: "{}".into(), body: "2".into() };
    transport.events().publish(Publish { event: EVENT, partition: 0, message }).await
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn what_has_become_of_another_is_not_buried() {
    let test = |server: Arc<servers::Redis>| async move {
        let (a, b) = (connect(server.url()), connect(server.url()));
        let mut one = Listener::start(&a, 1, DEADLINE).await;
        fire(&a, "1").await.unwrap();
        let lost = one.next().await;
        let mut other = Listener::start(&b, 1, Duration::from_millis(30)).await;
        let taken = other.next().await;
        assert_eq!((taken.id, taken.deliveries), (lost.id, 2));
        let letter = DeadLetter {
            group: "group".into(),
            reason: "broken".to_owned(),
            deliveries: 1,
            message: lost.message.clone(),
        };
        soon("it is buried", one.subscription.bury(lost.id, letter.clone())).await.unwrap();
        assert_eq!(soon("the count", b.log().dead_letter_count(EVENT)).await, Ok(0));
        assert_eq!(soon("the lag", b.log().lag(EVENT, "group")).await, Ok(Lag::new(0, 1)));
        soon("it is buried", other.subscription.bury(taken.id, letter)).await.unwrap();
        assert_eq!(soon("the count", b.log().dead_letter_count(EVENT)).await, Ok(1));
        assert_eq!(soon("the lag", b.log().lag(EVENT, "group")).await, Ok(Lag::new(0, 0)));
        a.close(DEADLINE).await;
        b.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_close_waits_no_longer_than_it_is_told_for_a_broker_that_is_gone() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        fire(&transport, "1").await.unwrap();
        server.stop(Stop::Immediate);
        until("the loss is seen", || transport.status().connected.is_err()).await;
        let waits = Arc::clone(&transport);
        let waits = logcontext::run_in_background(async move { fire(&waits, "2").await });
        until("it is queued", || transport.status().queued == 1).await;
        soon("it is closed", transport.close(Duration::from_millis(50))).await;
        assert_eq!(waits.await.unwrap(), Err(TransportError::Closed));
        assert_eq!(transport.status().connections, 0);
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_lag_that_the_broker_cannot_tell_is_counted() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        let mut listener = Listener::start(&transport, 1, DEADLINE).await;
        let mut ids = Vec::new();
        for n in 0..10 {
            ids.push(fire(&transport, &n.to_string()).await.unwrap());
        }
        assert_eq!(listener.next().await.id.id, ids[0]);
        server.ask(&["XDEL", "logcontext:event:test.event:0", &ids[5].to_string()]);
        // The slot has come free with the delivery, and is taken again.
        let held = listener.next().await;
        assert_eq!(held.id.id, ids[1]);
        assert_eq!(soon("the lag", transport.log().lag(EVENT, "group")).await, Ok(Lag::new(7, 2)));
        let page = Page { before: Some(ids[6]), limit: 2 };
        let history = soon("the history", transport.log().history(EVENT, page)).await.unwrap();
        assert_eq!(history.iter().map(|stored| stored.id).collect::<Vec<_>>(), [ids[4], ids[3]]);
        transport.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn all_that_was_acknowledged_outlives_a_kill() {
    let test = |server: Arc<servers::Redis>| async move {
        let transport = connect(server.url());
        let mut listener = Listener::start(&transport, 4, DEADLINE).await;
        for round in 0..3 {
            for n in 0..10 {
                fire(&transport, &format!("{round}-{n}")).await.unwrap();
            }
            let killed = Arc::clone(&server);
            logcontext::spawn_blocking(move || {
                killed.stop(Stop::Immediate);
                killed.start_again();
            })
            .await
            .unwrap();
        }
        let mut got = Vec::new();
        while got.len() < 30 {
            got.push(listener.body().await);
        }
        got.sort_unstable();
        got.dedup();
        assert_eq!(got.len(), 30);
        transport.close(DEADLINE).await;
    };
    on_both(test, durable);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn what_was_under_way_when_the_line_was_lost_is_asked_again() {
    let test = |server: Arc<servers::Redis>| async move {
        let line = servers::Link::to(server.url());
        let transport = connect(line.url());
        let mut listener = Listener::start(&transport, 4, DEADLINE).await;
        fire(&transport, "1").await.unwrap();
        let id = listener.next().await.id;
        line.freeze();
        let mut done = listener.subscription.acknowledge(vec![id]);
        let waits = std::future::poll_fn(|cx| Poll::Ready(done.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "the line is frozen");
        // Out of the queue, so in the connection, which brings it nowhere.
        until("it is sent", || transport.status().queued == 0).await;
        line.cut();
        line.thaw();
        line.restore();
        assert_eq!(soon("it is acknowledged", done).await, Ok(()));
        assert_eq!(soon("the lag", transport.log().lag(EVENT, "group")).await, Ok(Lag::new(0, 0)));
        transport.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_call_that_is_cancelled_before_it_is_sent_is_never_sent() {
    let test = |server: Arc<servers::Redis>| async move {
        let line = servers::Link::to(server.url());
        let (caller, service) = (connect(line.url()), connect(server.url()));
        let (_serving, _calls) = serve(&service, 0).await;
        soon("it is connected", caller.connected()).await.unwrap();
        line.cut();
        until("the loss is seen", || caller.status().connected.is_err()).await;
        let outgoing = |call| Outgoing {
            rpc: Double::NAME,
            lane: Lane::First,
            call,
            timeout: DEADLINE,
            message: Message::default(),
        };
        // Whoever waits for it to be sent has not gone yet when it is cancelled.
        let mut cancelled = caller.calls().call(outgoing(1));
        let waits = std::future::poll_fn(|cx| Poll::Ready(cancelled.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "there is no line");
        caller.calls().cancel(Double::NAME, Lane::First, 1);
        line.restore();
        soon("it is sent", caller.calls().call(outgoing(2))).await.unwrap();
        assert_eq!(server.ask(&["XLEN", "logcontext:call:test.double:first"]), ["1"]);
        caller.close(DEADLINE).await;
        service.close(DEADLINE).await;
    };
    on_both(test, forgetful);
}

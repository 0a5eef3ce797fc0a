//! A bus over a real broker under load, while what it stands on fails: nothing that was acknowledged is lost, whoever waits is
//! told in time, and all goes on by itself.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::transport::Since;
use logcontext_bus::{Bus, BusConfig, CallError, Event, Rpc};
use logcontext_testservers::Link;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// After so long a test has failed.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long a call waits, and a bit, for a machine that is busy.
const CALL: Duration = Duration::from_secs(2);
const A_BIT: Duration = Duration::from_secs(2);

/// A broker that can be troubled.
pub(crate) trait Broker: Send + Sync + 'static {
    /// A bus over it has at most so many connections.
    const CONNECTIONS: usize;
    fn start() -> Self;
    fn url(&self) -> &str;
    fn kill(&self);
    fn start_again(&self);
    fn pause(&self);
    fn resume(&self);
}

#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
struct Happened {
    number: u64,
}

impl Event for Happened {
    const NAME: &'static str = "test.happened";
}

#[derive(Debug, Deserialize, JsonSchema, Serialize)]
struct Double(u64);

type Answer = Result<u64, CallError<String>>;

impl Rpc for Double {
    const NAME: &'static str = "test.double";
    type Response = u64;
    type Error = String;
}

fn config(url: &str) -> BusConfig {
    BusConfig {
        claim_after: Duration::from_millis(500),
        call_timeout: CALL,
        fire_timeout: PATIENCE,
        ..BusConfig::new("test", url)
    }
}

fn runtime(guard: &Test) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    builder.on_thread_start(guard.thread_start()).on_thread_park(logcontext::expect_sentinel).build().unwrap()
}

/// Runs it in a context, and sees that nothing is left running, and that the books are in order.
fn run(test: impl Future<Output = ()>) {
    let guard = testing::start();
    let runtime = runtime(&guard);
    let context = guard.supervisor().context("test").start();
    let test = async { timeout(3 * PATIENCE, test).await.expect("in time") };
    runtime.block_on(test.in_context(context.clone()));
    context.finish();
    let shutdown = guard.supervisor().shutdown(PATIENCE);
    assert!(runtime.block_on(shutdown).aborted.is_empty());
    assert!(guard.supervisor().running().is_empty(), "{:?}", guard.supervisor().running());
    drop(runtime);
    let contexts = guard.supervisor().contexts();
    let in_flight: Vec<_> = contexts.iter().filter(|context| !context.is_finished()).collect();
    assert!(in_flight.is_empty(), "{in_flight:?}");
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let watch = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, watch).await.unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

/// A service that fires, listens, calls and serves all the time, and what came of it.
struct Load {
    bus: Bus,
    handled: Arc<Mutex<HashMap<u64, u32>>>,
    stored: Arc<Mutex<Vec<u64>>>,
    called: Arc<Mutex<Vec<Answer>>>,
    late: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    loads: Vec<logcontext::Background<()>>,
}

impl Load {
    async fn start(url: &str) -> Self {
        let bus = Bus::connect(&config(url)).await.unwrap();
        let handled = Arc::<Mutex<HashMap<u64, u32>>>::default();
        let seen = Arc::clone(&handled);
        let listener = bus.listen::<Happened>("test", move |event: Happened| {
            let seen = Arc::clone(&seen);
            async move {
                tokio::task::yield_now().await;
                *seen.lock().unwrap().entry(event.number).or_default() += 1;
            }
        });
        listener.since(Since::Start).slots(50).start().await.unwrap();
        bus.serve::<Double>(async |Double(number): Double| Ok::<_, String>(2 * number))
            .start()
            .await
            .unwrap();
        let mut load = Self {
            bus,
            handled,
            stored: Arc::default(),
            called: Arc::default(),
            late: Arc::default(),
            is_over: Arc::default(),
            loads: Vec::new(),
        };
        for lane in 0..10 {
            load.fire(lane);
            load.call();
        }
        load
    }

    fn fire(&mut self, lane: u64) {
        let (bus, stored, is_over) = (self.bus.clone(), Arc::clone(&self.stored), Arc::clone(&self.is_over));
        self.loads.push(logcontext::background::run("fire", async move {
            let mut number = lane;
            while !is_over.load(SeqCst) {
                if bus.fire(&Happened { number }).await.is_ok() {
                    stored.lock().unwrap().push(number);
                }
                number += 10;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }));
    }

    fn call(&mut self) {
        let (bus, called, is_over) = (self.bus.clone(), Arc::clone(&self.called), Arc::clone(&self.is_over));
        let late = Arc::clone(&self.late);
        self.loads.push(logcontext::background::run("call", async move {
            while !is_over.load(SeqCst) {
                let begun = Instant::now();
                let answer = bus.call(Double(17)).await;
                if begun.elapsed() > CALL + A_BIT {
                    late.fetch_add(1, SeqCst);
                }
                called.lock().unwrap().push(answer);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }));
    }

    fn answered(&self) -> usize {
        self.called.lock().unwrap().iter().filter(|answer| answer.is_ok()).count()
    }

    fn stored(&self) -> usize {
        self.stored.lock().unwrap().len()
    }

    /// Both go on from here.
    async fn goes_on(&self) {
        let (answered, stored) = (self.answered(), self.stored());
        until("it goes on", async || self.answered() > answered + 50 && self.stored() > stored + 50).await;
    }

    /// Every event that was acknowledged has been handled, and nothing is left. Answers what calls failed with.
    async fn end(self) -> Vec<CallError<String>> {
        self.is_over.store(true, SeqCst);
        for load in self.loads {
            load.await.unwrap();
        }
        let (stored, handled) = (&self.stored, &self.handled);
        until("all are handled", async || {
            let handled = handled.lock().unwrap();
            stored.lock().unwrap().iter().all(|number| handled.contains_key(number))
        })
        .await;
        until("nothing is pending", async || {
            let lag = self.bus.lag(Happened::NAME, "test:test").await;
            lag.is_ok_and(|lag| (lag.unread, lag.pending) == (0, 0))
        })
        .await;
        assert_eq!(self.late.load(SeqCst), 0, "calls that failed past their deadline");
        self.bus.close(PATIENCE).await;
        let called = std::mem::take(&mut *self.called.lock().unwrap());
        assert!(called.iter().flatten().all(|answer| *answer == 34));
        called.into_iter().filter_map(Result::err).collect()
    }
}

/// Errors that say why.
fn assert_told(errors: &[CallError<String>]) {
    for error in errors {
        assert!(
            matches!(
                error,
                CallError::ConnectionLost(_) | CallError::Timeout { .. } | CallError::NoServer(_)
            ),
            "{error:?}"
        );
    }
}

pub(crate) fn a_broker_that_is_killed_twice_under_load_loses_nothing_that_it_had_acknowledged<B: Broker>() {
    run(async {
        let broker = B::start();
        let load = Load::start(broker.url()).await;
        for _ in 0..2 {
            load.goes_on().await;
            broker.kill();
            broker.start_again();
        }
        load.goes_on().await;
        let connections = load.bus.status().connections;
        let errors = load.end().await;
        assert_told(&errors);
        assert!(!errors.is_empty(), "what was under way has failed");
        assert!(connections <= B::CONNECTIONS, "{connections} connections");
    });
}

pub(crate) fn a_broker_that_is_frozen_for_ten_seconds_holds_nobody_up_past_their_deadline<B: Broker>() {
    run(async {
        let broker = B::start();
        let load = Load::start(broker.url()).await;
        load.goes_on().await;
        broker.pause();
        let begun = Instant::now();
        let error = load.bus.fire(&Happened { number: 1_000_000 }).within(CALL).await.unwrap_err();
        assert!(begun.elapsed() < CALL + A_BIT, "{error}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        broker.resume();
        load.goes_on().await;
        let errors = load.end().await;
        assert_told(&errors);
        assert!(errors.iter().any(|error| matches!(error, CallError::Timeout { .. })), "{errors:?}");
    });
}

pub(crate) fn a_line_that_is_cut_under_load_fails_what_is_under_way_at_once_and_all_else_goes_on<
    B: Broker,
>() {
    run(async {
        let broker = B::start();
        let link = Link::to(broker.url());
        let load = Load::start(link.url()).await;
        for _ in 0..3 {
            load.goes_on().await;
            link.cut();
            until("it is known", async || load.bus.status().connected.is_err()).await;
            link.restore();
        }
        load.goes_on().await;
        let errors = load.end().await;
        assert_told(&errors);
        assert!(errors.iter().any(|error| matches!(error, CallError::ConnectionLost(_))), "{errors:?}");
        until("no connection is left", async || link.connections() == 0).await;
    });
}

/// So many events of the test with workers.
const EVENTS: u64 = 300;
const WORKER: &str = "LOGCONTEXT_TEST_WORKER";

/// A process of its own that handles events, and says so. Killed when it is dropped.
struct Worker(Child);

/// What a worker says.
struct Said {
    worker: u32,
    has_ended: bool,
    number: u64,
}

impl Worker {
    fn start(url: &str, tell: &Sender<Said>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "works_for_another_test", "--nocapture", "--include-ignored"]);
        command.env(WORKER, url).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (lines, tell, worker) =
            (BufReader::new(child.stdout.take().unwrap()).lines(), tell.clone(), child.id());
        #[expect(clippy::disallowed_methods, reason = "it reads what another process says")]
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let Some((what, number)) = line.split_once(' ') else { continue };
                if let (true, Ok(number)) = (["begun", "ended"].contains(&what), number.parse()) {
                    let _ = tell.send(Said { worker, has_ended: what == "ended", number });
                }
            }
        });
        Self(child)
    }

    fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn works_for_another_test() {
    let Ok(url) = std::env::var(WORKER) else { return };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let work = async {
        let bus = Bus::connect(&config(&url)).await.unwrap();
        let listener = bus.listen::<Happened>("test", async |event: Happened| {
            println!("\nbegun {}", event.number);
            tokio::time::sleep(Duration::from_millis(5)).await;
            println!("\nended {}", event.number);
        });
        let listener = listener.since(Since::Start).slots(4).start().await.unwrap();
        listener.stopped().await;
    };
    runtime.block_on(work.in_context(LogContext::new("worker")));
}

pub(crate) fn workers_that_are_killed_in_the_middle_of_an_event_leave_it_to_others<B: Broker>() {
    let broker = B::start();
    let url = broker.url().to_owned();
    run(async move {
        let bus = Bus::connect(&config(&url)).await.unwrap();
        for number in 0..EVENTS {
            bus.fire(&Happened { number }).await.unwrap();
        }
        let (tell, told) = channel();
        let mut workers: Vec<Worker> = (0..3).map(|_| Worker::start(&url, &tell)).collect();
        // By event: who has begun it, and how often it was ended.
        let mut begun: HashMap<u64, Vec<u32>> = HashMap::new();
        let mut ended: HashMap<u64, u32> = HashMap::new();
        let (mut killed, mut next_kill) = (Vec::new(), 20);
        logcontext::block_in_place(|| {
            while ended.len() < EVENTS as usize {
                let said = told.recv_timeout(PATIENCE).expect("a worker says something");
                if said.has_ended {
                    *ended.entry(said.number).or_default() += 1;
                    continue;
                }
                begun.entry(said.number).or_default().push(said.worker);
                // In the middle of what it has just begun.
                if killed.len() < 5 && begun.len() as u64 > next_kill {
                    next_kill += 40;
                    if let Some(at) = workers.iter().position(|worker| worker.id() == said.worker) {
                        killed.push(said.worker);
                        drop(workers.remove(at));
                        workers.push(Worker::start(&url, &tell));
                    }
                }
            }
        });
        assert_eq!(killed.len(), 5);
        until("nothing is pending", async || {
            let lag = bus.lag(Happened::NAME, "test:test").await.unwrap();
            (lag.unread, lag.pending) == (0, 0)
        })
        .await;
        for (number, workers) in &begun {
            let again = workers.len() > 1;
            let was_killed = workers.iter().any(|worker| killed.contains(worker));
            assert!(!again || was_killed, "{number} was begun by {workers:?}, of whom none was killed");
        }
        assert_eq!(bus.dead_letter_count(Happened::NAME).await.unwrap(), 0);
        drop(workers);
        bus.close(PATIENCE).await;
    });
}

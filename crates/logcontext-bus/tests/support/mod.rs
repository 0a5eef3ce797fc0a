//! What the tests of events share.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]

pub mod figures;
pub mod script;

use std::borrow::Cow;
use std::future::Future;
use std::sync::Once;
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::transport::Memory;
use logcontext_bus::{Bus, BusConfig, Event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Nothing here takes so long: a test that hangs is one that fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// From now on a panic prints its message and no more.
pub fn short_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|info| eprintln!("{info}"))));
}

/// The test on a current-thread runtime and on one with two workers, each with a guard of its own; in a context, as a
/// task.
pub fn on_both<F>(f: impl Fn(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    on_both_and(f, |_| {});
}

/// The same, and what has been logged is looked at in the end.
pub fn on_both_and<F>(f: impl Fn(World) -> F, then: impl Fn(&Test))
where
    F: Future<Output = ()> + Send + 'static,
{
    short_panics();
    for workers in [0, 2] {
        let test = testing::start();
        patient(test.supervisor());
        let runtime = if workers == 0 { test.current_thread() } else { test.multi_thread(workers) };
        let world = World { supervisor: test.supervisor().clone(), broker: Memory::new() };
        let future = {
            let _entered = runtime.enter();
            f(world)
        };
        run(&runtime, future);
        end(&test, runtime);
        then(&test);
    }
}

/// With the clock paused: time moves when nothing else does.
pub fn paused<F>(f: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    paused_and(f, |_| {});
}

/// The same, and what has been logged is looked at in the end.
pub fn paused_and<F>(f: impl FnOnce(World) -> F, then: impl FnOnce(&Test))
where
    F: Future<Output = ()> + Send + 'static,
{
    short_panics();
    let test = testing::start();
    patient(test.supervisor());
    let runtime = test.current_thread();
    let world = World { supervisor: test.supervisor().clone(), broker: Memory::new() };
    let future = f(world);
    run(&runtime, async {
        tokio::time::pause();
        future.await;
    });
    end(&test, runtime);
    then(&test);
}

/// On a machine that has much else to do a poll may take long: that is no fault.
pub fn patient(supervisor: &logcontext::Supervisor) {
    supervisor.set_slow_poll_limit(DEADLINE);
}

/// Shuts down what the test has left, and looks whether anything is left then.
fn end(test: &Test, runtime: Runtime) {
    let supervisor = test.supervisor();
    let shutdown = runtime.block_on(supervisor.shutdown(DEADLINE));
    assert!(shutdown.aborted.is_empty(), "{:?}", shutdown.aborted);
    drop(runtime);
    nothing_is_left(test);
}

/// Neither tasks, nor contexts, nor sources of figures. Threads of handlers that block may be about to let go of theirs.
#[track_caller]
pub fn nothing_is_left(test: &Test) {
    let supervisor = test.supervisor();
    let since = std::time::Instant::now();
    while !left(test).is_empty() && since.elapsed() < DEADLINE {
        std::thread::yield_now();
    }
    assert!(supervisor.running().is_empty(), "{:?}", supervisor.running());
    assert!(left(test).is_empty(), "{:?}", left(test));
    assert!(supervisor.sources().is_empty());
}

/// The contexts that live, but for those that the test's own records hold.
fn left(test: &Test) -> Vec<LogContext> {
    let mut left = test.supervisor().contexts();
    for record in test.records() {
        left.retain(|context| *context != record.context && *context != record.context.parent());
    }
    left
}

/// Runs it to its end as a task, so that on several workers it moves between them.
#[track_caller]
pub fn run<F>(runtime: &Runtime, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let future = future.in_context(LogContext::new("test"));
    #[expect(clippy::disallowed_methods, reason = "it brings its context")]
    let task = runtime.spawn(future);
    let ended = runtime.block_on(async {
        // By the real clock: a paused one runs ahead.
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let _watch = Watchdog::start(told);
        let ended = task.await;
        drop(tell);
        ended
    });
    if let Err(error) = ended {
        std::panic::resume_unwind(error.into_panic());
    }
}

/// Ends the process of a test that hangs, whatever clock it has.
struct Watchdog;

impl Watchdog {
    fn start(mut told: tokio::sync::oneshot::Receiver<()>) -> Self {
        let body = move || {
            for _ in 0..DEADLINE.as_secs() * 20 {
                if !matches!(told.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Empty)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            eprintln!("the test hangs");
            std::process::abort();
        };
        #[expect(clippy::disallowed_methods, reason = "it is nobody's work")]
        std::thread::spawn(body);
        Self
    }
}

/// A broker, and whose buses are on it.
#[derive(Clone)]
pub struct World {
    pub supervisor: logcontext::Supervisor,
    pub broker: Memory,
}

impl World {
    pub fn config() -> BusConfig {
        BusConfig::new("presence", "memory:")
    }

    pub fn bus(&self) -> Bus {
        self.bus_with(|config| config)
    }

    pub fn bus_with(&self, with: impl FnOnce(BusConfig) -> BusConfig) -> Bus {
        Bus::over(&with(Self::config()), &self.broker).expect("a bus")
    }

    /// A bus of a service of its own, over the same broker: it can be shut down, and die, by itself.
    pub fn service(&self, with: impl FnOnce(BusConfig) -> BusConfig) -> (logcontext::Supervisor, Bus) {
        let supervisor = logcontext::Supervisor::new("service");
        patient(&supervisor);
        let bus = supervisor.context("startup").start().scope(|| self.bus_with(with));
        (supervisor, bus)
    }
}

/// Something that has happened to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    pub user: String,
    pub n: u64,
}

impl Event for Changed {
    const NAME: &str = "presence.changed";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.user))
    }
}

pub fn changed(user: &str, n: u64) -> Changed {
    Changed { user: user.to_owned(), n }
}

/// The same in four partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    pub user: String,
    pub n: u64,
}

impl Event for Spread {
    const NAME: &str = "presence.spread";
    const PARTITIONS: u16 = 4;

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.user))
    }
}

pub fn spread(user: &str, n: u64) -> Spread {
    Spread { user: user.to_owned(), n }
}

/// A channel to tell the test by.
pub fn tell<T>() -> (mpsc::UnboundedSender<T>, mpsc::UnboundedReceiver<T>) {
    mpsc::unbounded_channel()
}

/// Lets everything run that can.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Waits until it is so, letting others run.
pub async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

/// Waits until the group has nothing to do and nothing in its hands.
pub async fn done(bus: &Bus, event: &str, group: &str) {
    loop {
        let lag = bus.lag(event, group).await.expect("the lag");
        if (lag.unread, lag.pending) == (0, 0) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// What was said of failures: errors and warnings. That a poll was held up is said where the machine has others to serve.
pub fn complaints(test: &Test) -> Vec<testing::Record> {
    let is_complaint = |record: &testing::Record| {
        record.level <= tracing::Level::WARN && record.message != "blocked the executor"
    };
    test.records().into_iter().filter(is_complaint).collect()
}

//! What the tests of keyed queues share.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use logcontext::source::{Buckets, Collector};
use logcontext::testing::{self, Test};
use logcontext::{LogContext, Supervisor, current_context};
use logcontext_cache::KEYED_WAIT;
use tokio::runtime::Runtime;

/// Nothing here takes so long: a test that hangs is one that fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// The test on a current-thread runtime and on one with two workers, each with a guard of its own.
#[expect(clippy::needless_pass_by_value, reason = "a closure that is written where it is passed")]
pub fn on_both(f: impl AsyncFn(&Test)) {
    let run = |runtime: &dyn Fn(&Test) -> Runtime| {
        let test = testing::start();
        let runtime = runtime(&test);
        let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, f(&test)).await });
        ended.expect("the test hangs");
        assert!(current_context().is_sentinel());
    };
    run(&Test::current_thread);
    run(&|test| test.multi_thread(2));
}

/// The test with the clock paused: time moves when nothing else does.
pub fn paused<F: Future>(f: impl FnOnce(Test) -> F) {
    let test = testing::start();
    let runtime = test.current_thread();
    runtime.block_on(async {
        tokio::time::pause();
        f(test).await;
    });
}

/// Goes on once this is so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < DEADLINE, "not so: {what}");
        tokio::task::yield_now().await;
    }
}

/// A context of its own.
pub fn context(test: &Test, name: &'static str) -> LogContext {
    test.supervisor().context(name).start()
}

/// Polls once, without anyone to wake, and without regard to how much has been polled before.
pub fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(&mut tokio::task::coop::unconstrained(future)).poll(&mut Context::from_waker(Waker::noop()))
}

/// The output of a future that does not have to wait.
#[track_caller]
pub fn at_once<F: Future + Unpin>(mut future: F) -> F::Output {
    match poll_once(&mut future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it has to wait"),
    }
}

/// What the context has spent waiting for keys.
pub fn waited(context: &LogContext) -> Duration {
    Duration::from_nanos(context.usage().counter(&KEYED_WAIT))
}

/// Figures as they are collected: name, labels, value; of a histogram, its count and its sum in seconds.
#[derive(Default)]
pub struct Figures(Vec<(&'static str, String, f64)>);

impl Figures {
    pub fn of(supervisor: &Supervisor) -> Self {
        let mut figures = Self::default();
        for source in supervisor.sources() {
            source.collect(&mut figures);
        }
        figures
    }

    /// The one value of this name for these labels.
    #[track_caller]
    pub fn get(&self, name: &str, labels: &str) -> f64 {
        let found: Vec<f64> =
            self.0.iter().filter(|(n, l, _)| *n == name && l == labels).map(|(_, _, value)| *value).collect();
        assert_eq!(found.len(), 1, "{name} {labels} in {:?}", self.0);
        found[0]
    }
}

fn text(labels: &[(&'static str, &str)]) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

impl Collector for Figures {
    fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.0.push((name, text(labels), value));
    }

    fn histogram(&mut self, name: &'static str, labels: &[(&'static str, &str)], buckets: &Buckets) {
        self.0.push((name, text(labels), buckets.count() as f64));
        self.0.push((name, format!("{} sum", text(labels)), buckets.sum.as_secs_f64()));
    }
}

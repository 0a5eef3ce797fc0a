//! What the tests of keyed queues share.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{LogContext, current_context};
use logcontext_cache::KEYED_WAIT;
use tokio::runtime::Runtime;

use super::{DEADLINE, nothing_is_left, short_panics};

/// The test on a current-thread runtime and on one with two workers, each with a guard of its own.
#[expect(clippy::needless_pass_by_value, reason = "a closure that is written where it is passed")]
pub fn on_both(f: impl AsyncFn(&Test)) {
    let run = |runtime: &dyn Fn(&Test) -> Runtime| {
        short_panics();
        let test = testing::start();
        let runtime = runtime(&test);
        let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, f(&test)).await });
        ended.expect("the test hangs");
        assert!(current_context().is_sentinel());
        drop(runtime);
        nothing_is_left(&test);
    };
    run(&Test::current_thread);
    run(&|test| test.multi_thread(2));
}

/// The test with the clock paused: time moves when nothing else does.
pub fn paused(f: impl AsyncFnOnce(&Test)) {
    short_panics();
    let test = testing::start();
    let runtime = test.current_thread();
    runtime.block_on(async {
        tokio::time::pause();
        f(&test).await;
    });
    drop(runtime);
    nothing_is_left(&test);
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

//! Running one behaviour.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext};
use tokio::runtime::{Builder, Runtime};

use super::{Broker, Case};

/// Longer than this nothing takes that is not stuck.
const STUCK: Duration = Duration::from_secs(300);

/// Runs a behaviour on a runtime of one thread. The broker is made in the runtime, on a thread that may block.
///
/// # Panics
/// If the transport does not behave like this.
pub fn on_one_thread<B, F>(broker: impl FnOnce() -> B, behaviour: impl FnOnce(Case) -> F)
where
    B: Broker,
    F: Future<Output = ()>,
{
    run(Builder::new_current_thread(), broker, behaviour);
}

/// The same on a runtime of several threads.
///
/// # Panics
/// If the transport does not behave like this.
pub fn on_several_threads<B, F>(broker: impl FnOnce() -> B, behaviour: impl FnOnce(Case) -> F)
where
    B: Broker,
    F: Future<Output = ()>,
{
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(3);
    run(builder, broker, behaviour);
}

fn run<B: Broker, F: Future<Output = ()>>(
    builder: Builder,
    broker: impl FnOnce() -> B,
    behaviour: impl FnOnce(Case) -> F,
) {
    let test = testing::start();
    let runtime = runtime(&test, builder);
    let broker = {
        let _entered = runtime.enter();
        broker()
    };
    let case = Case::new(Arc::new(broker));
    let done = async {
        tokio::time::timeout(STUCK, behaviour(case)).await.expect("the behaviour is stuck");
    };
    runtime.block_on(done.in_context(LogContext::new("CONFORMANCE-1")));
}

fn runtime(test: &Test, mut builder: Builder) -> Runtime {
    builder
        .enable_all()
        .on_thread_start(test.thread_start())
        .on_thread_park(logcontext::expect_sentinel)
        .build()
        .expect("a runtime for the test")
}

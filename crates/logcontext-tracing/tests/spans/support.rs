//! A log with contexts on spans, for one test: on its thread, and on those of its runtimes.

#![allow(dead_code, reason = "each test binary takes what it needs")]

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use logcontext::bench::thread_cpu_nanos;
use logcontext::testing::{self, Test};
use logcontext::{LabelTotals, LogContext, current_context, expect_sentinel};
use logcontext_tracing::{ContextSpans, LogLayer};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tracing::Dispatch;
use tracing::dispatcher::{self, DefaultGuard};
use tracing_subscriber::prelude::*;

use crate::common::Kept;

pub(crate) struct Rig {
    pub(crate) dispatch: Dispatch,
    kept: Kept,
    // Dropped in this order: what was the default before is the test's.
    _default: DefaultGuard,
    pub(crate) test: Test,
}

thread_local! {
    static DEFAULT: Cell<Option<DefaultGuard>> = const { Cell::new(None) };
}

/// With the layer as it comes.
pub(crate) fn rig() -> Rig {
    rig_with(ContextSpans::new())
}

pub(crate) fn rig_with(spans: ContextSpans) -> Rig {
    let test = testing::start();
    let kept = Kept::default();
    let writer = kept.clone();
    let log = LogLayer::json(move || writer.clone());
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(spans).with(log));
    Rig { _default: dispatcher::set_default(&dispatch), dispatch, kept, test }
}

impl Rig {
    fn build(&self, mut builder: Builder) -> Runtime {
        let (start, dispatch) = (self.test.thread_start(), self.dispatch.clone());
        builder
            .enable_time()
            .on_thread_start(move || {
                start();
                DEFAULT.set(Some(dispatcher::set_default(&dispatch)));
            })
            .on_thread_park(expect_sentinel)
            .build()
            .unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.kept.json()
    }

    /// The context of each line, in order.
    pub(crate) fn contexts(&self) -> Vec<String> {
        self.lines().iter().map(|line| line["context"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn totals(&self, label: &str) -> LabelTotals {
        let totals = self.test.supervisor().totals();
        let found = totals.iter().find(|totals| totals.label.as_deref() == Some(label));
        found.unwrap_or_else(|| panic!("no {label} in {totals:?}")).clone()
    }

    pub(crate) fn labels(&self) -> Vec<String> {
        let totals = self.test.supervisor().totals();
        totals.iter().map(|totals| totals.label.as_deref().unwrap_or("none").to_owned()).collect()
    }
}

/// On a current-thread runtime and on one with two workers, each with a rig of its own.
pub(crate) fn on_both(f: impl Fn(&Rig, &Runtime)) {
    for builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let rig = rig();
        let mut builder = builder;
        builder.worker_threads(2);
        let runtime = rig.build(builder);
        f(&rig, &runtime);
    }
}

/// As people do who know nothing of contexts.
#[expect(clippy::disallowed_methods, reason = "a service that knows nothing of contexts is what is tested")]
pub(crate) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// On a thread of its own, which no test kit looks after.
#[track_caller]
pub(crate) fn on_a_thread<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    #[expect(
        clippy::disallowed_methods,
        reason = "a service that knows nothing of contexts is what is tested"
    )]
    std::thread::spawn(f).join().unwrap()
}

/// The name of the current context.
pub(crate) fn here() -> String {
    current_context().name().to_owned()
}

/// Burns CPU until the thread's own clock has advanced by so much; answers by how much it has.
pub(crate) fn burn(nanos: u64) -> u64 {
    let Some(start) = thread_cpu_nanos() else { return 0 };
    loop {
        let burned = thread_cpu_nanos().unwrap() - start;
        if burned >= nanos {
            return burned;
        }
        (0..20).for_each(|i| {
            black_box(i);
        });
    }
}

/// What it was charged is what was burned in it.
pub(crate) fn charged(context: &LogContext, burned: u64) -> Result<(), String> {
    context
        .usage()
        .cpu()
        .map_or(Ok(()), |cpu| is_about(cpu, burned).map_err(|error| format!("{context}: {error}")))
}

/// So many nanoseconds of CPU, and little more.
pub(crate) fn is_about(cpu: Duration, nanos: u64) -> Result<(), String> {
    let ratio = cpu.as_nanos() as f64 / nanos as f64;
    if (0.98..1.06).contains(&ratio) { Ok(()) } else { Err(format!("charged {ratio:.3} of what was burned")) }
}

/// Measures until it comes out right, five times at most: a machine that is busy with other things may spoil one
/// measurement, a meter that is wrong spoils all.
pub(crate) fn measure(mut once: impl FnMut() -> Result<(), String>) {
    let wrong: Vec<_> = (0..5).map_while(|_| once().err()).collect();
    assert!(wrong.len() < 5, "five times: {wrong:#?}");
}

//! What the tests of calls have in common.

#![allow(dead_code, unused_imports, reason = "each test uses a part of it")]

mod figures;
mod gate;
mod tap;

use std::future::Future;

pub(crate) use figures::figure;
pub(crate) use gate::{Gate, TellsDrop};
pub(crate) use tap::{Change, Tap};

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::transport::Memory;
use logcontext_bus::{Bus, BusConfig, Rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

/// Answered with itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Echo(pub(crate) String);

impl Rpc for Echo {
    const NAME: &str = "test.echo";
    type Response = String;
    type Error = String;
}

/// Answered with a sum that takes as many calls.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sum(pub(crate) u32);

impl Rpc for Sum {
    const NAME: &str = "test.sum";
    type Response = u64;
    type Error = String;
}

/// For whatever a test needs beside.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Other(pub(crate) u32);

impl Rpc for Other {
    const NAME: &str = "test.other";
    type Response = u64;
    type Error = String;
}

pub(crate) fn echo(text: &str) -> Echo {
    Echo(text.to_owned())
}

pub(crate) async fn echoed(echo: Echo) -> Result<String, String> {
    Ok(echo.0)
}

/// Runs it on a runtime of either kind, in a context of its own, with a test kit that looks at all of it.
pub(crate) fn on_both_runtimes<F: Future>(test: impl Fn(Rig) -> F) {
    for workers in [0, 2] {
        let kit = testing::start();
        let runtime = if workers == 0 { kit.current_thread() } else { kit.multi_thread(workers) };
        run(kit, runtime, &test);
    }
}

/// The same where the clock stands still: on one thread.
pub(crate) fn with_stopped_clock<F: Future>(test: impl Fn(Rig) -> F) {
    let kit = testing::start();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).on_thread_park(logcontext::expect_sentinel);
    let runtime = builder.build().unwrap();
    run(kit, runtime, &test);
}

fn run<F: Future>(kit: Test, runtime: Runtime, test: &impl Fn(Rig) -> F) {
    let kit = std::rc::Rc::new(kit);
    let context = LogContext::new("GET-17");
    let rig = Rig { kit: kit.clone(), handle: runtime.handle().clone(), broker: Memory::new() };
    runtime.block_on(async { context.scope(|| test(rig)).in_context(context.clone()).await });
    drop(runtime);
    context.finish();
    let started = |context: &&LogContext| !context.is_finished();
    let contexts = kit.supervisor().contexts();
    assert!(!contexts.iter().any(|context| started(&context)), "not finished: {contexts:?}");
    assert!(kit.supervisor().running().is_empty());
}

/// What a test has.
pub(crate) struct Rig {
    pub(crate) kit: std::rc::Rc<Test>,
    pub(crate) handle: tokio::runtime::Handle,
    pub(crate) broker: Memory,
}

impl Rig {
    /// A bus of the service `test` over the broker.
    pub(crate) fn bus(&self) -> Bus {
        self.bus_of("test", |_| {})
    }

    pub(crate) fn bus_of(&self, service: &str, change: impl FnOnce(&mut BusConfig)) -> Bus {
        let mut config = BusConfig::new(service, "memory:");
        change(&mut config);
        Bus::over(&config, &self.broker).unwrap()
    }

    /// A bus of the service `test`, and what goes through its transport.
    pub(crate) fn tapped(&self, change: Change) -> (Bus, Tap) {
        let tap = Tap::new(&self.broker, change);
        (Bus::over(&BusConfig::new("test", "memory:"), &tap).unwrap(), tap)
    }

    /// Lets others run until this holds.
    pub(crate) async fn until(&self, mut holds: impl FnMut() -> bool) {
        while !holds() {
            tokio::task::yield_now().await;
        }
    }

    /// What was logged at this level, with the name of its context.
    pub(crate) fn logged(&self, level: tracing::Level) -> Vec<(String, String)> {
        // That a poll was held up is said where the machine has others to serve.
        let is_ours = |record: &testing::Record| record.message != "blocked the executor";
        let records = self.kit.records_at(level).into_iter().filter(is_ours);
        records.map(|record| (record.context.name().to_owned(), record.message)).collect()
    }
}

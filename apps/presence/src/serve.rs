//! `presence serve`.

use std::process::ExitCode;

use anyhow::Context;
use logcontext::{FutureExt, Supervisor};
use logcontext_tracing::LogTarget;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::cli::{LogFormat, Serve};
use crate::prune::Retention;
use crate::service::{Config, Service, Stopped};
use crate::signals::Signals;
use crate::store::Timeouts;

/// Runs the service until a signal.
///
/// # Errors
/// If it cannot start.
pub fn serve(options: &Serve) -> anyhow::Result<ExitCode> {
    let log = logcontext_tracing::builder().filter(&options.log_filter)?.target(LogTarget::stdout());
    let _log = match options.log {
        LogFormat::Text => log.text(),
        LogFormat::Json => log.json(),
    }
    .init()?;
    let runtime = runtime()?;
    let exit = runtime.block_on(run(config(options)));
    // Blocking work that did not end by the deadline is not waited for.
    runtime.shutdown_background();
    exit
}

/// A runtime that tells on whatever leaves its context behind on a worker.
///
/// # Errors
/// If the system refuses it.
pub fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().on_thread_park(logcontext::expect_sentinel);
    builder.build().context("cannot start the runtime")
}

fn config(options: &Serve) -> Config {
    let default = Config::default();
    Config {
        listen: options.listen,
        database: options.database.clone(),
        timeouts: Timeouts { unavailable: options.presence_timeout, offline: options.offline_timeout },
        retention: Retention { history: options.history_retention, ..default.retention },
        shutdown_deadline: options.shutdown_deadline,
        ..default
    }
}

async fn run(config: Config) -> anyhow::Result<ExitCode> {
    let supervisor = Supervisor::global();
    let startup = supervisor.context("startup").start();
    let deadline = config.shutdown_deadline;
    let mut signals = Signals::listen().context("cannot listen to signals")?;
    let service = tokio::select! {
        service = Service::start(config).in_context(startup.clone()) => service?,
        signal = signals.next() => {
            startup.scope(|| tracing::info!(signal = signal.name, "told to end before it had started"));
            let shutdown = supervisor.shutdown(deadline).in_context(startup.clone()).await;
            startup.finish();
            return Ok(if shutdown.aborted.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    };
    startup.finish();

    let (stop, stopped) = oneshot::channel();
    let signal = supervisor.context("signal").start();
    tokio::select! {
        ended = service.run(async { drop(stopped.await) }) => Ok(exit_code(&ended?)),
        second = signals.stop_then_cut_short(stop).in_context(signal) => Ok((128 + second.number).into()),
    }
}

fn exit_code(stopped: &Stopped) -> ExitCode {
    if stopped.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

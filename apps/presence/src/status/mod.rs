//! `presence status`: all processes in one table, by what each tells of itself on its admin listener.
//!
//! It refuses to guess: where one of them does not answer as a presence does, that is said, and there are no sums.

mod address;
mod answer;
mod ask;
mod costs;
mod overview;
mod page;
mod process;
mod settings;
mod text;

use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use futures_util::future::join_all;
use logcontext::{FutureExt, LogContext};
use logcontext_service::Settings;
use logcontext_service::config::{PositiveTime, Secret};

use crate::server::Presence;
pub use address::ProcessAddress;
pub(crate) use overview::Overview;
pub use settings::StatusSettings;

/// Show all processes in one table, and what their work has cost: by what their admin listeners tell.
///
/// Exits with 0 if each of them answered, and 1 if one did not: then there are no sums.
#[derive(Args, Debug)]
pub struct StatusCommand {
    /// Where the admin listeners are: presence.status.processes unless said here
    #[arg(value_name = "ADDRESS")]
    processes: Vec<ProcessAddress>,
    /// How long each may take to answer
    #[arg(long, value_name = "TIME", default_value = "2s")]
    patience: PositiveTime,
    /// How many labels of the costs are shown, the most expensive first
    #[arg(long, value_name = "N", default_value_t = 20)]
    labels: usize,
    /// Write the result as one JSON object, with all labels
    #[arg(long)]
    json: bool,
}

/// More than anybody has: each is asked at once.
const MOST_PROCESSES: usize = 1_000;

/// Does it.
///
/// # Errors
/// If it knows of no process, or cannot write the result.
pub fn status(command: &StatusCommand, settings: Settings<Presence>) -> anyhow::Result<ExitCode> {
    let Settings { service, server, .. } = settings;
    let StatusSettings { processes, token } = server.status;
    let processes = if command.processes.is_empty() { processes } else { command.processes.clone() };
    // One that looks at processes which are configured as it is itself needs to say it once.
    let token = token.or(service.admin.token);
    match processes.len() {
        0 => bail!(
            "no process is known; expected the addresses of admin listeners, such as presence status 127.0.0.1:9009, or presence.status.processes"
        ),
        1..=MOST_PROCESSES => {}
        many => bail!("{many} processes; expected {MOST_PROCESSES} at most"),
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = LogContext::new("command");
    let looking = look(&processes, token.as_ref(), command.patience.get());
    let overview = runtime.block_on(looking.in_context(context.clone()));
    context.finish();
    let text = if command.json {
        format!("{}\n", serde_json::to_string(&overview)?)
    } else {
        text::text(&overview, command.labels)
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")?;
    Ok(if overview.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks all of them at once.
pub(crate) async fn look(
    processes: &[ProcessAddress],
    token: Option<&Secret>,
    patience: Duration,
) -> Overview {
    let asked = processes.iter().map(|address| async {
        let answer = ask::ask(address, token, patience).await;
        (address.clone(), answer.and_then(|body| answer::read(&body)))
    });
    Overview::of(join_all(asked).await)
}

/// The same as people read it.
pub(crate) fn as_text(overview: &Overview, labels: usize) -> String {
    text::text(overview, labels)
}

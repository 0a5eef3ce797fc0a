//! `presence bus ..`: looking after the bus from outside.

mod dead_letters;
mod get;
mod lag;
mod outbox;
mod schema;
mod table;

use std::io::{Write as _, stdout};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use logcontext::{FutureExt, LogContext};
use logcontext_bus::Bus;
use logcontext_service::Settings;

use super::BusSettings;
use crate::server::Presence;
use crate::user::UserId;

/// So long it may take to say goodbye.
const END: Duration = Duration::from_secs(1);

/// Look after the bus: what is said on it, who is behind, what could not be handled.
#[derive(Args, Debug)]
pub struct BusCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is said on the bus, as JSON Schema
    #[command(subcommand)]
    Schema(Schema),
    /// How far each group of listeners is behind
    Lag,
    /// Ask a running presence what somebody's presence is
    Get {
        /// Whose
        user: UserId,
    },
    /// Events that could not be handled
    #[command(subcommand)]
    DeadLetters(dead_letters::DeadLetters),
    /// Events that could not be sent: in the database, where they were stored
    #[command(subcommand)]
    Outbox(outbox::SetAside),
}

#[derive(Debug, Subcommand)]
enum Schema {
    /// Print all of it as one JSON object
    Dump,
}

/// Does it.
///
/// # Errors
/// If the bus cannot be reached, or does not do it.
pub fn run(command: &BusCommand, settings: Settings<Presence>) -> anyhow::Result<ExitCode> {
    let Settings { server, database, .. } = settings;
    let bus = &server.bus;
    let text = match &command.what {
        What::Schema(Schema::Dump) => schema::dump()?,
        What::Lag => with_bus(bus, async |bus| lag::lag(&bus).await)?,
        What::Get { user } => with_bus(bus, async |bus| get::get(&bus, user).await)?,
        What::DeadLetters(what) => with_bus(bus, async |bus| dead_letters::run(&bus, what).await)?,
        What::Outbox(what) => in_context(outbox::run(&database, what))?,
    };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")?;
    Ok(ExitCode::SUCCESS)
}

/// With a connection, in a context, as everything that asks a bus.
fn with_bus<T>(
    settings: &BusSettings,
    work: impl AsyncFnOnce(Bus) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if settings.url.with_password() == "memory:" {
        bail!(
            "presence.bus.url is memory:, which only a running server can see; expected a broker's, such as --bus redis://host:6379/"
        );
    }
    in_context(async {
        let bus = Bus::connect(&settings.config()).await?;
        let result = work(bus.clone()).await;
        bus.close(END).await;
        result
    })
}

fn in_context<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let command = LogContext::new("command");
    let result = runtime.block_on(work.in_context(command.clone()));
    command.finish();
    result
}

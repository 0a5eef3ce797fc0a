//! The command line of `presence demo`.

use clap::Args;
use logcontext_service::config::{BusUrl, DatabaseUrl};

/// Run two hubs of the service, drive the first over HTTP for a while, and show where the CPU went, and whether the second
/// has heard of all of it.
///
/// With --processes the hubs are processes of their own, on a broker: two API processes, two senders, and the second hub.
/// One of the first four is killed half-way, and started again.
///
/// Exits with 0 if all went well, and 1 if a diagnostic was raised or something got lost.
#[derive(Args, Debug)]
pub struct Demo {
    /// How long to drive the service.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// How many clients drive it. A third of them leaves every request early.
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub clients: u16,
    /// The database of the first hub, which gets a few users and their history: a temporary file unless said
    /// otherwise.
    // Not from the environment: what is meant for `serve` is no place to play.
    #[arg(long, value_name = "URL")]
    pub database: Option<DatabaseUrl>,
    /// Run the hubs as processes of their own, and kill one of them half-way.
    #[arg(long)]
    pub processes: bool,
    /// The broker of those processes, which they leave keys on: a redis-server or nats-server that is started and ended
    /// here, unless said otherwise.
    #[arg(long, value_name = "URL", requires = "processes")]
    pub bus: Option<BusUrl>,
    /// What the choice of whom to kill is made from: another one each time, unless said otherwise.
    #[arg(long, value_name = "N", requires = "processes")]
    pub seed: Option<u64>,
    /// Write the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

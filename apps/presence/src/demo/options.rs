//! The command line of `presence demo`.

use clap::Args;
use logcontext_service::config::DatabaseUrl;

/// Run the service, drive it over HTTP for a while, and show where the CPU went.
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
    /// The database of the service, which gets a few users and their history: a temporary file unless said
    /// otherwise.
    // Not from the environment: what is meant for `serve` is no place to play.
    #[arg(long, value_name = "URL")]
    pub database: Option<DatabaseUrl>,
    /// Write the result as one JSON object.
    #[arg(long)]
    pub json: bool,
}

//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::database::DatabaseUrl;

/// The reference service of logcontext: users have a presence.
#[derive(Debug, Parser)]
#[command(name = "presence", version, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service until SIGINT or SIGTERM.
    ///
    /// Exits with 0 after a clean shutdown, 1 if it could not start or something had to be aborted at the
    /// deadline, 2 on a wrong command line, and 128 + n when a second signal n cut the shutdown short.
    Serve(Serve),
    /// Run the service, drive it over HTTP for a while, and show where the CPU went.
    ///
    /// Exits with 0 if all went well, and 1 if a diagnostic was raised or something got lost.
    Demo(Demo),
}

/// The options of `presence serve`.
#[derive(Args, Debug)]
pub struct Serve {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS", env = "PRESENCE_LISTEN", default_value = "127.0.0.1:8008")]
    pub listen: SocketAddr,
    /// Where the users, their presence and its history are: SQLite or PostgreSQL.
    ///
    /// `sqlite:<file>?mode=rwc` makes the file if it is not there; `postgres://user:password@host/database`. A
    /// password is better given by the environment, where other users of the machine do not see it.
    #[arg(
        long,
        value_name = "URL",
        env = "PRESENCE_DATABASE",
        hide_env_values = true,
        default_value = "sqlite:presence.db?mode=rwc"
    )]
    pub database: DatabaseUrl,
    /// The format of the log, which goes to stdout.
    #[arg(long, value_enum, env = "PRESENCE_LOG", default_value_t = LogFormat::Text)]
    pub log: LogFormat,
    /// What to log: a level, or levels by target such as `warn,presence=debug`.
    #[arg(long, value_name = "FILTER", env = "PRESENCE_LOG_FILTER", default_value = "info")]
    pub log_filter: String,
    /// Who is online and does nothing for so long becomes unavailable.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = positive)]
    pub presence_timeout: Duration,
    /// Who does nothing for so long becomes offline.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = positive)]
    pub offline_timeout: Duration,
    /// How long the history of each presence is kept.
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = positive)]
    pub history_retention: Duration,
    /// How long requests and background work may take to end at shutdown, and the database to close.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    pub shutdown_deadline: Duration,
}

/// A format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

/// The options of `presence demo`.
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

fn positive(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("expected more than nothing, such as 30s".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; expected a time such as 30s or 5m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_database_by_default_is_the_same_everywhere() {
        let Command::Serve(serve) = Cli::parse_from(["presence", "serve"]).command else {
            panic!("not serve")
        };
        assert_eq!(serve.database, DatabaseUrl::default());
        assert_eq!(serve.history_retention, crate::service::Config::default().retention.history);
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(positive("5m"), Ok(Duration::from_secs(300)));
        assert!(positive("0s").unwrap_err().contains("more than nothing"));
        assert!(positive("soon").unwrap_err().contains("such as 30s"));
    }
}

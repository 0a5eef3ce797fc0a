//! Benchmarks of logcontext beside its peers. `cargo xtask bench` runs this and keeps what it prints: one JSON
//! object on stdout; what people read goes to stderr.
//!
//! A figure here is a median of many short rounds, taken in turn with the rounds of what it is compared with,
//! so that whatever else the machine does falls on both. Nothing fails on a figure: ceilings are shown, and
//! those that are missed are listed under `missed`.

mod accuracy;
mod background;
mod bus;
mod cache;
mod child;
mod contexts;
mod cpu;
mod db;
mod http;
mod log_json;
mod logging;
mod metrics;
mod report;
mod rounds;
mod scale;
mod stats;
mod switches;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use report::Report;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Contexts: switching, charging, creating, logging
    Core {
        #[command(flatten)]
        how: How,
        /// Only this part
        #[arg(long)]
        only: Option<Part>,
    },
    /// Calls and events on the bus, next to the least that does the same
    Bus(How),
    /// Caches and keyed queues, next to what is used for them otherwise
    Cache(How),
    /// Calls of a database, next to the driver alone and to its pool
    Db(How),
    /// Requests over HTTP, next to bare axum and to the usual stack
    Http(How),
    /// Scrapes: how long they take, whom they hold up, and what a request costs beside them
    Metrics(How),
    /// What several processes of `presence` do a second
    Scale(How),
    /// One of the workers of `bus`
    #[command(hide = true)]
    ServeBus {
        side: bus::Side,
        #[arg(long)]
        url: String,
        #[arg(long)]
        prefix: String,
    },
    /// One of the servers of `http`
    #[command(hide = true)]
    Serve {
        kind: http::Kind,
        #[arg(long)]
        log: PathBuf,
    },
}

#[derive(Args)]
struct How {
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Fewer rounds: to see that it works
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Contexts,
    Switches,
    Background,
    Accuracy,
    Logging,
}

impl Part {
    /// `Contexts` is first because it looks at the process's memory, `Logging` last because tracing stays
    /// awake once it has had a subscriber.
    const ALL: [Self; 5] = [Self::Contexts, Self::Switches, Self::Background, Self::Accuracy, Self::Logging];

    fn run(self, report: &mut Report, effort: Effort) {
        match self {
            Self::Contexts => contexts::run(report, effort),
            Self::Switches => switches::run(report, effort),
            Self::Background => background::run(report, effort),
            Self::Accuracy => accuracy::run(report, effort),
            Self::Logging => {
                logging::run(report, effort);
                log_json::run(report, effort);
            }
        }
    }
}

/// How much to do.
#[derive(Clone, Copy)]
struct Effort {
    quick: bool,
}

impl How {
    fn effort(&self) -> Effort {
        Effort { quick: self.quick }
    }
}

impl Effort {
    fn of(self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let mut report = Report::default();
    let how = match command {
        Command::Core { how, only } => {
            for part in Part::ALL {
                if only.is_none_or(|only| only == part) {
                    part.run(&mut report, how.effort());
                }
            }
            how
        }
        Command::Bus(how) => {
            bus::run(&mut report, how.effort())?;
            how
        }
        Command::Cache(how) => {
            cache::run(&mut report, how.effort());
            how
        }
        Command::Db(how) => {
            db::run(&mut report, how.effort())?;
            how
        }
        Command::Http(how) => {
            http::run(&mut report, how.effort())?;
            how
        }
        Command::Metrics(how) => {
            metrics::run(&mut report, how.effort())?;
            how
        }
        Command::Scale(how) => {
            scale::run(&mut report, how.effort())?;
            how
        }
        Command::ServeBus { side, url, prefix } => return bus::serve(side, &url, &prefix),
        Command::Serve { kind, log } => return http::serve(kind, &log),
    };
    let result = report.into_json();
    if how.json {
        println!("{result}");
    }
    Ok(())
}

//! Benchmarks of logcontext beside its peers. `cargo xtask bench` runs this and keeps what it prints: one JSON
//! object on stdout; what people read goes to stderr.
//!
//! A figure here is a median of many short rounds, taken in turn with the rounds of what it is compared with,
//! so that whatever else the machine does falls on both. Nothing fails on a figure: ceilings are shown, and
//! those that are missed are listed under `missed`.

mod accuracy;
mod background;
mod contexts;
mod log_json;
mod logging;
mod report;
mod rounds;
mod stats;
mod switches;

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
    Core(Core),
}

#[derive(Args)]
struct Core {
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Only this part
    #[arg(long)]
    only: Option<Part>,
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

impl Effort {
    fn of(self, full: usize) -> usize {
        if self.quick { full.div_ceil(10) } else { full }
    }
}

fn main() {
    let Cli { command: Command::Core(core) } = Cli::parse();
    let mut report = Report::default();
    for part in Part::ALL {
        if core.only.is_none_or(|only| only == part) {
            part.run(&mut report, Effort { quick: core.quick });
        }
    }
    let result = report.into_json();
    if core.json {
        println!("{result}");
    }
}

//! The chores of this workspace, as `cargo xtask <chore>`: nothing to install but Rust.

mod bench;
mod features;
mod licences;
mod machine;
mod need;
mod servers;
mod test;
mod unused;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Runs every suite of tests, and fails if one failed or did not run
    ///
    /// Starts the servers that tests need: PostgreSQL, Redis and NATS. One that is missing is installed, as root on Debian, and
    /// elsewhere named. Programs that tests need, promtool, are unpacked into the target folder on Debian. Tests that are marked as needing one run too. The last line
    /// of the output is `N passed, N failed, N skipped`.
    Test {
        /// Runs the tests of the workspace that match, and no other suite; what `cargo test` takes after `--`
        #[arg(last = true, value_name = "FILTER")]
        filter: Vec<String>,
    },
    /// Measures, and saves the result with a description of the machine to benches/results/
    Bench {
        /// What to measure
        name: bench::Name,
        /// Prints the saved result, one JSON object, on stdout
        #[arg(long)]
        json: bool,
    },
    /// Checks each package with no features, then with each of its features alone
    Features,
    /// Checks licences, banned crates and sources of all dependencies against deny.toml
    Licences,
    /// Finds dependencies that their package never names
    Unused,
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().chore {
        Chore::Test { filter } => test::run(&filter),
        Chore::Bench { name, json } => bench::run(name, json),
        Chore::Features => features::run(),
        Chore::Licences => licences::run(),
        Chore::Unused => unused::run(),
    }
}

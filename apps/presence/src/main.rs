//! The command `presence`.

use std::process::ExitCode;

use clap::Parser;
use presence::cli::{Cli, Command};

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(options) => presence::serve::serve(&options),
        Command::Demo(options) => presence::demo::demo(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

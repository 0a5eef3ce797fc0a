//! The command `presence`.

use std::process::ExitCode;

use clap::Parser;
use presence::cli::{Cli, Command};
use presence::database::without_passwords;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(&error),
    };
    let result = match cli.command {
        Command::Serve(options) => presence::serve::serve(&options),
        Command::Demo(options) => presence::demo::demo(&options),
    };
    result.unwrap_or_else(|error| {
        // One line, whatever a server has answered.
        let error = format!("{error:#}").replace(char::is_control, " ");
        eprintln!("error: {}", without_passwords(&error));
        ExitCode::FAILURE
    })
}

/// As clap does, but for the passwords: it repeats what it does not understand.
fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        eprint!("{}", without_passwords(&error.render().to_string()));
    } else {
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

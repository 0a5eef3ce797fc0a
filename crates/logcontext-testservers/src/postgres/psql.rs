//! Statements by way of psql.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

/// What psql prints, or why there is nothing.
pub(super) fn run(psql: &Path, url: &str, sql: &str) -> Result<String, String> {
    let output = without_settings(Command::new(psql))
        .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql])
        .env("PGCONNECT_TIMEOUT", "30")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", psql.display()))?;
    if !output.status.success() {
        return Err(format!("psql: {}", String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned())
}

/// The environment of whoever runs the tests names another server, another time zone, other options.
pub(super) fn without_settings(mut command: Command) -> Command {
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C");
    command
}

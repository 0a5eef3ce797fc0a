//! `cargo xtask bench`: runs a benchmark and keeps what it found next to the machine it was found on.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use serde_json::{Map, Value};

use crate::machine::Machine;
use crate::servers::{NATS, POSTGRES, REDIS, Server, Servers};
use crate::workspace::{Metadata, cargo, root};

/// What there is to measure.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Name {
    /// Contexts: switching, charging, creating, logging
    Core,
    /// Requests over HTTP, next to bare axum and to the usual stack
    Http,
    /// Calls of a database, next to the driver alone and to its pool
    Db,
    /// Calls and events on the bus, next to the least that does the same
    Bus,
    /// Caches, next to bare ones, and keyed queues
    Cache,
    /// Scrapes: how long they take, whom they hold up, and what a request costs beside them
    Metrics,
    /// What several processes of `presence` do a second
    Scale,
}

impl Name {
    fn as_str(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Http => "http",
            Self::Db => "db",
            Self::Bus => "bus",
            Self::Cache => "cache",
            Self::Metrics => "metrics",
            Self::Scale => "scale",
        }
    }

    fn servers(self) -> &'static [Server] {
        match self {
            Self::Core | Self::Http | Self::Cache | Self::Metrics => &[],
            Self::Bus => &[REDIS, NATS],
            Self::Scale => &[REDIS, POSTGRES],
            Self::Db => &[POSTGRES],
        }
    }
}

/// Runs the benchmark, saves its result, and prints that if `json` says so.
pub(crate) fn run(name: Name, json: bool) -> Result<ExitCode> {
    // Before the run: what the machine was like, and what was measured, even if someone commits meanwhile.
    let machine = Machine::describe();
    let date = machine.date().to_owned();
    let servers = Servers::start_all(name.servers())?;
    let mut command = command(name, &servers)?;
    if let Name::Scale = name {
        command.env("LOGCONTEXT_BENCH_PRESENCE", presence()?);
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot start cargo")?;
    ensure!(
        output.status.success() || !output.stdout.is_empty(),
        "the benchmark failed ({}) without a result",
        output.status
    );

    let result = with_machine(&output.stdout, &serde_json::to_value(machine)?)?;
    let path = save(name, &date, &result)?;
    eprintln!("saved to {}", path.display());
    if json {
        println!("{result}");
    }
    // A result is kept even if the benchmark was not content with it.
    ensure!(output.status.success(), "the benchmark failed ({})", output.status);
    Ok(ExitCode::SUCCESS)
}

fn command(name: Name, servers: &Servers) -> Result<Command> {
    let mut command = cargo()?;
    command.args(["run", "--release", "--package", "logcontext-bench", "--", name.as_str(), "--json"]);
    servers.tell(&mut command);
    Ok(command)
}

/// The service, built as it is run.
fn presence() -> Result<PathBuf> {
    let build = cargo()?.args(["build", "--release", "--package", "presence"]).status();
    ensure!(build.context("cannot start cargo")?.success(), "presence cannot be built");
    Ok(Metadata::of_members()?.target_directory.join("release").join("presence"))
}

/// The benchmark's object with one more member: `machine`.
fn with_machine(stdout: &[u8], machine: &Value) -> Result<Value> {
    let mut result: Map<String, Value> = serde_json::from_slice(stdout)
        .context("a benchmark prints one JSON object on stdout, and nothing else")?;
    if result.insert("machine".to_owned(), machine.clone()).is_some() {
        bail!("the benchmark's result has a member `machine`, which is for xtask to add");
    }
    Ok(Value::Object(result))
}

/// Replaces the result of an earlier run on the same day.
fn save(name: Name, date: &str, result: &Value) -> Result<PathBuf> {
    let folder = root()?.join("benches").join("results");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("{}-{date}.json", name.as_str()));
    fs::write(&path, format!("{result:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_name_is_a_benchmark_that_learns_where_its_servers_are() {
        let servers = Servers::fake("LOGCONTEXT_TEST_FAKE", "redis://127.0.0.1:1");
        for (name, subcommand, needs) in [
            (Name::Core, "core", 0),
            (Name::Http, "http", 0),
            (Name::Db, "db", 1),
            (Name::Cache, "cache", 0),
            (Name::Bus, "bus", 2),
            (Name::Metrics, "metrics", 0),
            (Name::Scale, "scale", 2),
        ] {
            let command = command(name, &servers).unwrap();
            let args: Vec<_> = command.get_args().collect();
            assert!(args.ends_with(&["--".as_ref(), subcommand.as_ref(), "--json".as_ref()]), "{args:?}");
            assert!(
                command.get_envs().any(|(name, value)| name == "LOGCONTEXT_TEST_FAKE" && value.is_some())
            );
            assert_eq!(name.servers().len(), needs);
        }
    }

    #[test]
    fn the_machine_joins_the_result() {
        let result = with_machine(b"{\"switch_ns\": 19.5}\n", &json!({"cores": 2})).unwrap();
        assert_eq!(result, json!({"switch_ns": 19.5, "machine": {"cores": 2}}));
    }

    #[test]
    fn anything_but_one_object_is_refused() {
        for stdout in ["", "[1]", "{} {}", "running...\n{}", "{\"machine\": 1}"] {
            assert!(with_machine(stdout.as_bytes(), &json!({})).is_err(), "{stdout}");
        }
    }
}

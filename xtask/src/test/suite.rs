//! The suites: what each runs, and what it needs.

use std::env;
use std::process::Command;

use anyhow::Result;

use super::harness::Harness;
use super::need::{NEXTEST, Need};
use crate::workspace::{Metadata, cargo};

/// Tests that one command runs.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    /// What must be installed. A suite without it did not run, which is a failure.
    pub(crate) needs: &'static [Need],
    /// Who runs the tests, and so how its output reads.
    pub(crate) harness: Harness,
    /// A library and a feature of it that must be off, or else the suite tests something else.
    pub(crate) without: Option<(&'static str, &'static str)>,
    pub(crate) command: Command,
}

/// All suites, in the order in which they run.
pub(crate) fn all(metadata: &Metadata) -> Result<Vec<Suite>> {
    Ok(vec![of_the_workspace(&[])?, doctests()?, core_without_tokio()?, core_with_tokio_unstable(metadata)?])
}

/// The tests of all packages with all features, or those of them that match the filter.
pub(crate) fn of_the_workspace(filter: &[String]) -> Result<Suite> {
    let mut command = cargo()?;
    let harness = if NEXTEST.is_there() {
        command.args(["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"]);
        Harness::Nextest
    } else {
        println!("{NEXTEST} is missing: plain `cargo test` runs the tests of the workspace instead.");
        cargo_test(&mut command).args(["--workspace", "--all-features", "--tests", "--lib", "--bins"]);
        Harness::CargoTest
    };
    if !filter.is_empty() {
        command.arg("--").args(filter);
    }
    Ok(Suite { name: "workspace", needs: &[], harness, without: None, command })
}

fn doctests() -> Result<Suite> {
    let mut command = cargo()?;
    command.args(["test", "--doc", "--workspace", "--all-features", "--no-fail-fast"]);
    Ok(Suite { name: "doctests", needs: &[], harness: Harness::CargoTest, without: None, command })
}

fn core_without_tokio() -> Result<Suite> {
    let mut command = cargo()?;
    cargo_test(&mut command).args(["--package", "logcontext", "--no-default-features"]).args([
        "--features",
        "testing",
        "--lib",
        "--tests",
    ]);
    Ok(Suite {
        name: "core without tokio",
        needs: &[],
        harness: Harness::CargoTest,
        without: Some(("logcontext", "tokio")),
        command,
    })
}

fn core_with_tokio_unstable(metadata: &Metadata) -> Result<Suite> {
    let mut command = cargo()?;
    cargo_test(&mut command).args([
        "--package",
        "logcontext",
        "--test",
        "tokio_unstable",
        "--test",
        "no_cpu_clock",
    ]);
    let flags = env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{flags} --cfg tokio_unstable --cfg logcontext_no_cpu_clock").trim());
    // This one would win over the one above.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS");
    // Other flags in the same folder would have everything built anew at each change of suite.
    command.env("CARGO_TARGET_DIR", metadata.target_directory.join("tokio-unstable"));
    Ok(Suite {
        name: "unstable, no CPU clock",
        needs: &[],
        harness: Harness::CargoTest,
        without: None,
        command,
    })
}

/// `cargo test` that also tells, between its lines for people, what it built.
fn cargo_test(command: &mut Command) -> &mut Command {
    command.args(["test", "--no-fail-fast", "--message-format", "json-render-diagnostics"])
}

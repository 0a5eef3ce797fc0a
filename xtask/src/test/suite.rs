//! The suites: what each runs, and what it needs.

use std::env;
use std::process::Command;

use anyhow::Result;

use super::harness::Harness;
use crate::need::{NEXTEST, Need};
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
    pub(crate) ignored: Ignored,
    pub(crate) command: Command,
}

/// What becomes of tests that are marked with `#[ignore]`: they need a server or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ignored {
    Run,
    Skip,
}

impl Ignored {
    /// How to tell nextest
    pub(crate) fn for_nextest(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["--run-ignored", "all"],
            Self::Skip => &[],
        }
    }

    /// How to tell the harness that cargo's own tests have, after `--`
    fn for_cargo_test(self) -> &'static [&'static str] {
        match self {
            Self::Run => &["--include-ignored"],
            Self::Skip => &[],
        }
    }
}

/// All suites, in the order in which they run.
pub(crate) fn all(metadata: &Metadata, ignored: Ignored) -> Result<Vec<Suite>> {
    Ok(vec![
        of_the_workspace(&[], ignored)?,
        doctests()?,
        core_without_tokio()?,
        core_with_tokio_unstable(metadata)?,
    ])
}

/// The tests of all packages with all features, or those of them that match the filter.
pub(crate) fn of_the_workspace(filter: &[String], ignored: Ignored) -> Result<Suite> {
    let harness = if NEXTEST.is_there() {
        Harness::Nextest
    } else {
        println!("{NEXTEST} is missing: plain `cargo test` runs the tests of the workspace instead.");
        Harness::CargoTest
    };
    let mut command = cargo()?;
    command.args(workspace_args(harness, ignored, filter));
    Ok(Suite { name: "workspace", needs: &[], harness, without: None, ignored, command })
}

fn workspace_args(harness: Harness, ignored: Ignored, filter: &[String]) -> Vec<&str> {
    let mut after: Vec<&str> = Vec::new();
    let mut args = match harness {
        Harness::Nextest => {
            let all = ["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"];
            [&all, ignored.for_nextest()].concat()
        }
        Harness::CargoTest => {
            after.extend(ignored.for_cargo_test());
            [&CARGO_TEST[..], &["--workspace", "--all-features", "--tests", "--lib", "--bins"]].concat()
        }
    };
    after.extend(filter.iter().map(String::as_str));
    if !after.is_empty() {
        args.push("--");
        args.append(&mut after);
    }
    args
}

fn doctests() -> Result<Suite> {
    let mut command = cargo()?;
    command.args(["test", "--doc", "--workspace", "--all-features", "--no-fail-fast"]);
    Ok(Suite {
        name: "doctests",
        needs: &[],
        harness: Harness::CargoTest,
        without: None,
        ignored: Ignored::Skip,
        command,
    })
}

fn core_without_tokio() -> Result<Suite> {
    let mut command = cargo()?;
    command.args(CARGO_TEST).args(["--package", "logcontext", "--no-default-features"]).args([
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
        ignored: Ignored::Skip,
        command,
    })
}

fn core_with_tokio_unstable(metadata: &Metadata) -> Result<Suite> {
    let mut command = cargo()?;
    command.args(CARGO_TEST).args([
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
        ignored: Ignored::Skip,
        command,
    })
}

/// `cargo test` that also tells, between its lines for people, what it built.
const CARGO_TEST: [&str; 4] = ["test", "--no-fail-fast", "--message-format", "json-render-diagnostics"];

#[cfg(test)]
mod tests {
    use super::*;

    fn after_dashes(harness: Harness, ignored: Ignored, filter: &[&str]) -> (Vec<String>, Vec<String>) {
        let filter: Vec<String> = filter.iter().map(|&word| word.to_owned()).collect();
        let args = workspace_args(harness, ignored, &filter);
        let mut parts = args.split(|&arg| arg == "--");
        let mut part = || parts.next().unwrap_or_default().iter().map(|&arg| arg.to_owned()).collect();
        (part(), part())
    }

    #[test]
    fn ignored_tests_run_where_their_servers_are_there() {
        let (before, after) = after_dashes(Harness::Nextest, Ignored::Run, &["waits"]);
        assert!(before.ends_with(&["--run-ignored".to_owned(), "all".to_owned()]), "{before:?}");
        assert_eq!(after, ["waits"]);

        let (_, after) = after_dashes(Harness::CargoTest, Ignored::Run, &["waits"]);
        assert_eq!(after, ["--include-ignored", "waits"]);
        let (_, after) = after_dashes(Harness::CargoTest, Ignored::Run, &[]);
        assert_eq!(after, ["--include-ignored"]);
    }

    #[test]
    fn ignored_tests_stay_ignored_where_a_server_is_missing() {
        for harness in [Harness::Nextest, Harness::CargoTest] {
            let (before, after) = after_dashes(harness, Ignored::Skip, &[]);
            assert!(!before.iter().any(|arg| arg.contains("ignored")), "{before:?}");
            assert_eq!(after, [] as [String; 0]);
        }
    }
}

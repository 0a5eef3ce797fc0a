//! `cargo xtask test`: every suite, and the proof that it ran.

mod counts;
mod coverage;
mod harness;
mod report;
mod run;
mod suite;

use std::process::ExitCode;

use anyhow::Result;

use crate::servers::{self, Servers, programs};
use crate::workspace::Metadata;
use coverage::TestFile;
use report::Report;
use suite::{Ignored, Suite};

/// Runs all suites; with a filter, the tests of the workspace that match it and no other suite. A server or
/// a program that they need and that is missing, and cannot be installed here, is an error either way.
pub(crate) fn run(filter: &[String]) -> Result<ExitCode> {
    let metadata = Metadata::of_members()?;
    let folder = metadata.target_directory.join("programs");
    let servers = Servers::start(servers::ALL).and(programs::ALL, &folder);
    let suites = suites(&metadata, filter, &servers)?;
    let (mut report, covered) = run_suites(suites, &servers, filter.is_empty())?;
    if filter.is_empty() {
        let missing = coverage::missing(&TestFile::all_of(&metadata), &covered);
        report.missing_files(&missing.iter().map(|file| file.title(&metadata)).collect::<Vec<_>>());
    } else {
        println!("\nOnly tests of the workspace that match the filter ran; the other suites did not.");
    }

    print!("{report}");
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the suites, and tells which files of tests ran. `skipped_is_bad` where no filter has skipped them.
fn run_suites(
    suites: Vec<Suite>,
    servers: &Servers,
    skipped_is_bad: bool,
) -> Result<(Report, Vec<TestFile>)> {
    let mut report = Report::default();
    let mut covered = Vec::new();
    for missing in servers.missing() {
        println!("{missing}: tests that need a server or a program will be skipped.");
    }
    report.missing_servers(servers.missing());

    for mut suite in suites {
        servers.tell(&mut suite.command);
        let outcome = run::run(suite)?;
        covered.extend(outcome.covered.iter().cloned());
        report.add(outcome, skipped_is_bad);
    }
    Ok((report, covered))
}

fn suites(metadata: &Metadata, filter: &[String], servers: &Servers) -> Result<Vec<Suite>> {
    let ignored = if servers.missing().is_empty() { Ignored::Run } else { Ignored::Skip };
    if filter.is_empty() {
        suite::all(metadata, ignored)
    } else {
        Ok(vec![suite::of_the_workspace(filter, ignored)?])
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use harness::Harness;

    /// As many tests pass as the server's URL says.
    fn suite() -> Suite {
        let mut command = Command::new("/bin/sh");
        let line = "echo \"test result: ok. ${LOGCONTEXT_TEST_FAKE:-0} passed; 0 failed; 2 ignored\"";
        command.args(["-c", line]);
        Suite {
            name: "fake",
            needs: &[],
            harness: Harness::CargoTest,
            without: None,
            ignored: Ignored::Run,
            command,
        }
    }

    fn last_line(report: &Report) -> String {
        report.to_string().lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn suites_learn_where_the_servers_are() {
        let servers = Servers::fake("LOGCONTEXT_TEST_FAKE", "7");
        let (report, _) = run_suites(vec![suite(), suite()], &servers, false).unwrap();
        assert!(report.is_good());
        assert_eq!(last_line(&report), "14 passed, 0 failed, 4 skipped");
    }

    #[test]
    fn a_test_that_is_still_ignored_is_an_error() {
        let servers = Servers::fake("LOGCONTEXT_TEST_FAKE", "7");
        let (report, _) = run_suites(vec![suite()], &servers, true).unwrap();
        assert!(!report.is_good());
        assert_eq!(last_line(&report), "7 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn a_missing_server_is_an_error_with_a_filter_too() {
        let (report, _) = run_suites(Vec::new(), &Servers::none_of("PostgreSQL"), false).unwrap();
        assert!(!report.is_good());
        assert!(report.to_string().contains("problem: PostgreSQL is missing"));
    }

    #[test]
    fn tests_that_need_a_server_run_where_none_is_missing() {
        let filter = ["waits".to_owned()];
        let metadata = Metadata { packages: Vec::new(), target_directory: "target".into() };
        let ignored = |servers: &Servers| {
            suites(&metadata, &filter, servers)
                .unwrap()
                .into_iter()
                .map(|suite| suite.ignored)
                .collect::<Vec<_>>()
        };
        assert_eq!(ignored(&Servers::fake("LOGCONTEXT_TEST_FAKE", "7")), [Ignored::Run]);
        assert_eq!(ignored(&Servers::none_of("PostgreSQL")), [Ignored::Skip]);
    }
}

//! `cargo xtask test`: every suite, and the proof that it ran.

mod counts;
mod coverage;
mod harness;
mod need;
mod report;
mod run;
mod suite;

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::Metadata;
use coverage::TestFile;
use report::Report;
use suite::Suite;

/// Runs all suites; with a filter, the tests of the workspace that match it and no other suite.
pub(crate) fn run(filter: &[String]) -> Result<ExitCode> {
    let metadata = Metadata::of_members()?;
    let mut report = Report::default();
    let mut covered = Vec::new();

    for suite in suites(&metadata, filter)? {
        let outcome = run::run(suite)?;
        covered.extend(outcome.covered.iter().cloned());
        report.add(outcome, filter.is_empty());
    }
    if filter.is_empty() {
        let missing = coverage::missing(&TestFile::all_of(&metadata), &covered);
        report.missing(&missing.iter().map(|file| file.title(&metadata)).collect::<Vec<_>>());
    } else {
        println!("\nOnly tests of the workspace that match the filter ran; the other suites did not.");
    }

    print!("{report}");
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn suites(metadata: &Metadata, filter: &[String]) -> Result<Vec<Suite>> {
    if filter.is_empty() { suite::all(metadata) } else { Ok(vec![suite::of_the_workspace(filter)?]) }
}

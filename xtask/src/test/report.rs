//! The end of the output: a table of suites, what is wrong, and the sum.

use std::fmt;
use std::time::Duration;

use super::counts::Counts;
use super::run::Outcome;

#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    problems: Vec<String>,
}

struct Row {
    name: &'static str,
    counts: Counts,
    elapsed: Duration,
}

impl Report {
    /// Adds a suite. One that did not really run counts as one failure, so that the sum shows it. A
    /// skipped test is a problem where nobody asked for it by a filter.
    pub(crate) fn add(&mut self, outcome: Outcome, skipped_is_bad: bool) {
        let mut counts = outcome.counts;
        if !outcome.problems.is_empty() {
            counts.failed = counts.failed.max(1);
        }
        for problem in outcome.problems {
            self.problems.push(format!("{}: {problem}", outcome.name));
        }
        if skipped_is_bad && counts.skipped > 0 {
            let names = match outcome.ignored.as_slice() {
                [] => String::new(),
                names => format!(": {}", names.join(", ")),
            };
            self.problems.push(format!("{}: {} skipped{names}", outcome.name, counts.skipped));
        }
        self.rows.push(Row { name: outcome.name, counts, elapsed: outcome.elapsed });
    }

    /// Adds files of tests that no suite ran. Together they count as one failure.
    pub(crate) fn missing_files(&mut self, files: &[String]) {
        let problems = files.iter().map(|file| format!("no suite ran anything of {file}"));
        self.fail_once("files without a test that ran", problems);
    }

    /// Adds servers and programs that tests need and that are not there. Together they count as one failure.
    pub(crate) fn missing_servers(&mut self, servers: &[String]) {
        self.fail_once("servers or programs not there", servers.iter().cloned());
    }

    fn fail_once(&mut self, name: &'static str, problems: impl Iterator<Item = String>) {
        let before = self.problems.len();
        self.problems.extend(problems);
        if self.problems.len() > before {
            let counts = Counts { failed: 1, ..Counts::default() };
            self.rows.push(Row { name, counts, elapsed: Duration::ZERO });
        }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.problems.is_empty() && self.sum().failed == 0
    }

    fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for row in &self.rows {
            sum += row.counts;
        }
        sum
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{:<30}{:>8}{:>8}{:>9}{:>10}", "suite", "passed", "failed", "skipped", "time")?;
        for Row { name, counts, elapsed } in &self.rows {
            let Counts { passed, failed, skipped } = counts;
            let seconds = elapsed.as_secs_f64();
            writeln!(f, "{name:<30}{passed:>8}{failed:>8}{skipped:>9}{seconds:>8.1} s")?;
        }
        writeln!(f)?;
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        // Alone on the last line: programs read it.
        writeln!(f, "{}", self.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(passed: u64, failed: u64, skipped: u64) -> Outcome {
        Outcome {
            name: "workspace",
            counts: Counts { passed, failed, skipped },
            elapsed: Duration::from_millis(1500),
            problems: Vec::new(),
            ignored: Vec::new(),
            covered: Vec::new(),
        }
    }

    fn last_line(report: &Report) -> String {
        report.to_string().lines().last().unwrap_or_default().to_owned()
    }

    #[test]
    fn all_passed() {
        let mut report = Report::default();
        report.add(outcome(12, 0, 0), true);
        report.add(outcome(3, 0, 0), true);
        report.missing_files(&[]);
        assert!(report.is_good());
        assert_eq!(last_line(&report), "15 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn a_failure_is_bad() {
        let mut report = Report::default();
        report.add(outcome(12, 1, 0), true);
        assert!(!report.is_good());
        assert_eq!(last_line(&report), "12 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_skipped_test_is_bad_unless_a_filter_skipped_it() {
        let mut report = Report::default();
        let ignored = Outcome { ignored: vec!["behaviour sleeps".to_owned()], ..outcome(12, 0, 1) };
        report.add(ignored, true);
        assert!(!report.is_good());
        assert!(report.to_string().contains("problem: workspace: 1 skipped: behaviour sleeps"));
        assert_eq!(last_line(&report), "12 passed, 0 failed, 1 skipped");

        let mut report = Report::default();
        report.add(outcome(1, 0, 11), false);
        assert!(report.is_good());
    }

    #[test]
    fn a_suite_that_did_not_run_counts_as_one_failure() {
        let mut report = Report::default();
        report.add(Outcome { problems: vec!["ran no test".to_owned()], ..outcome(0, 0, 0) }, true);
        assert!(!report.is_good());
        assert_eq!(last_line(&report), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_file_that_no_suite_ran_is_named() {
        let mut report = Report::default();
        report.add(outcome(12, 0, 0), true);
        report.missing_files(&["`empty` in the tests of core".to_owned()]);
        assert!(!report.is_good());
        assert!(report.to_string().contains("`empty` in the tests of core"));
        assert_eq!(last_line(&report), "12 passed, 1 failed, 0 skipped");
    }
    #[test]
    fn a_server_that_is_missing_is_a_failure_even_where_all_tests_passed() {
        let mut report = Report::default();
        report.missing_servers(&["PostgreSQL is missing".to_owned()]);
        report.add(outcome(12, 0, 7), false);
        assert!(!report.is_good());
        assert!(report.to_string().contains("problem: PostgreSQL is missing"));
        assert_eq!(last_line(&report), "12 passed, 1 failed, 7 skipped");

        let mut report = Report::default();
        report.missing_servers(&[]);
        report.add(outcome(12, 0, 0), true);
        assert!(report.is_good());
    }
}

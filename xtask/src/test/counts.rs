//! How many tests passed, failed and were skipped, as read from a harness's closing line.

use std::fmt;
use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Counts {
    /// How many tests ran.
    pub(crate) fn ran(self) -> u64 {
        self.passed + self.failed
    }

    /// Reads the closing line of nextest, such as
    /// `Summary [   0.016s] 3/5 tests run: 2 passed (1 slow), 1 timed out, 2 skipped`.
    pub(crate) fn from_nextest(line: &str) -> Option<Self> {
        let (_, line) = line.trim().strip_prefix("Summary [")?.split_once(']')?;
        let (run, outcomes) = line.split_once(" run: ")?;
        let mut counts = Self::default();

        let run = run.trim().strip_suffix(" tests").or_else(|| run.trim().strip_suffix(" test"))?;
        if let Some((finished, planned)) = run.split_once('/') {
            // Tests that were planned and never ran have not passed.
            counts.failed = planned.parse::<u64>().ok()?.checked_sub(finished.parse().ok()?)?;
        }
        for outcome in without_parentheses(outcomes).split(',') {
            let (number, word) = outcome.trim().split_once(' ')?;
            let number: u64 = number.parse().ok()?;
            match word.trim() {
                "passed" => counts.passed += number,
                "skipped" => counts.skipped += number,
                // failed, timed out, exec failed, and whatever else may go wrong with a test
                _ => counts.failed += number,
            }
        }
        Some(counts)
    }

    /// Reads the closing line of cargo's own harness, such as
    /// `test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s`.
    pub(crate) fn from_cargo_test(line: &str) -> Option<Self> {
        let (_, outcomes) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let mut counts = Self::default();
        for outcome in outcomes.split(';') {
            let (number, word) = outcome.trim().split_once(' ')?;
            match word {
                "passed" | "measured" => counts.passed += number.parse::<u64>().ok()?,
                "failed" => counts.failed += number.parse::<u64>().ok()?,
                "ignored" | "filtered out" => counts.skipped += number.parse::<u64>().ok()?,
                _ => {}
            }
        }
        Some(counts)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Nextest tells in parentheses what is already part of the number before them.
fn without_parentheses(text: &str) -> String {
    let mut depth = 0_u32;
    text.chars()
        .filter(|&c| {
            if c == '(' {
                depth += 1;
            }
            let outside = depth == 0;
            if c == ')' {
                depth = depth.saturating_sub(1);
            }
            outside
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64, skipped: u64) -> Option<Counts> {
        Some(Counts { passed, failed, skipped })
    }

    #[test]
    fn nextest_all_passed() {
        let line = "     Summary [   0.016s] 3 tests run: 3 passed, 0 skipped";
        assert_eq!(Counts::from_nextest(line), counts(3, 0, 0));
    }

    #[test]
    fn nextest_a_single_test() {
        let line = "     Summary [   0.016s] 1 test run: 1 passed, 41 skipped";
        assert_eq!(Counts::from_nextest(line), counts(1, 0, 41));
    }

    #[test]
    fn nextest_every_way_to_fail_is_a_failure() {
        let line = "Summary [  61.3s] 20 tests run: 9 passed (2 slow, 1 flaky, 1 leaky), \
                    8 failed (1 due to being leaky), 1 exec failed, 2 timed out, 3 skipped";
        assert_eq!(Counts::from_nextest(line), counts(9, 11, 3));
    }

    #[test]
    fn nextest_a_test_that_never_ran_is_a_failure() {
        let line = "Summary [   0.016s] 3/5 tests run: 2 passed, 1 failed, 0 skipped";
        assert_eq!(Counts::from_nextest(line), counts(2, 3, 0));
    }

    #[test]
    fn nextest_no_tests() {
        let line = "     Summary [   0.000s] 0 tests run: 0 passed, 7 skipped";
        assert_eq!(Counts::from_nextest(line), counts(0, 0, 7));
    }

    #[test]
    fn nextest_other_lines() {
        for line in ["        PASS [   0.005s] (1/3) a::b c", "Summary", "Summary [0.1s] nothing", ""] {
            assert_eq!(Counts::from_nextest(line), None, "{line}");
        }
    }

    #[test]
    fn cargo_test_all_passed() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; \
                    finished in 0.00s";
        assert_eq!(Counts::from_cargo_test(line), counts(2, 0, 0));
    }

    #[test]
    fn cargo_test_failed_and_ignored() {
        let line = "test result: FAILED. 4 passed; 3 failed; 2 ignored; 0 measured; 0 filtered out; \
                    finished in 1.25s";
        assert_eq!(Counts::from_cargo_test(line), counts(4, 3, 2));
    }

    #[test]
    fn cargo_test_what_the_filter_left_out_is_skipped() {
        let line = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 12 filtered out; \
                    finished in 0.00s";
        assert_eq!(Counts::from_cargo_test(line), counts(1, 0, 12));
    }

    #[test]
    fn cargo_test_other_lines() {
        for line in ["test tests::adds ... ok", "test result: ok", "running 2 tests", ""] {
            assert_eq!(Counts::from_cargo_test(line), None, "{line}");
        }
    }

    #[test]
    fn the_last_line_of_all() {
        let mut sum = Counts { passed: 10, failed: 0, skipped: 1 };
        sum += Counts { passed: 5, failed: 2, skipped: 0 };
        assert_eq!(sum.to_string(), "15 passed, 2 failed, 1 skipped");
    }
}

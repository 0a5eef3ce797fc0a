//! Reads the output of whoever runs the tests, line by line.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::counts::Counts;
use super::coverage::TestFile;

/// Who runs the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harness {
    Nextest,
    CargoTest,
}

/// What the output has told so far.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) counts: Counts,
    /// Files of tests that ran one test at least
    pub(crate) covered: Vec<TestFile>,
    /// Names of tests that are marked with `#[ignore]` and did not run; nextest does not tell them
    pub(crate) ignored: Vec<String>,
    /// Test binaries that started and never came to their closing line
    pub(crate) unfinished: Vec<String>,
    /// Features with which libraries were built, as (library, feature)
    pub(crate) features: Vec<(String, String)>,
    /// By file name, which holds a hash: the folder is absolute in one place and relative in the other
    built: HashMap<OsString, TestFile>,
    build_is_over: bool,
    running: Option<Running>,
}

struct Running {
    title: String,
    binary: OsString,
    has_closed: bool,
}

/// Is a line of output for people, or for us?
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    People,
    Xtask,
}

impl Reader {
    /// Reads the next line.
    pub(crate) fn read(&mut self, harness: Harness, line: &str) -> Audience {
        if self.read_message(line) {
            return Audience::Xtask;
        }
        let line = without_colours(line);
        match harness {
            Harness::Nextest => {
                if let Some(counts) = Counts::from_nextest(&line) {
                    self.counts = counts;
                }
            }
            Harness::CargoTest => self.read_cargo_test(&line),
        }
        Audience::People
    }

    /// To be called after the last line.
    pub(crate) fn close(&mut self) {
        if let Some(running) = self.running.take()
            && !running.has_closed
        {
            self.unfinished.push(running.title);
        }
    }

    fn read_cargo_test(&mut self, line: &str) {
        if let Some(title) = line.trim_start().strip_prefix("Running ")
            && let Some((_, binary)) = title.strip_suffix(')').and_then(|title| title.rsplit_once(" ("))
        {
            self.close();
            let binary = Path::new(binary).file_name().unwrap_or_default().to_owned();
            let running = Running { title: title.to_owned(), binary, has_closed: false };
            self.running = Some(running);
        } else if line.trim_start().starts_with("Doc-tests ") {
            self.close();
        } else if let Some(name) = ignored_test(line) {
            self.ignored.push(name.to_owned());
        } else if let Some(counts) = Counts::from_cargo_test(line) {
            self.counts += counts;
            if let Some(running) = &mut self.running {
                running.has_closed = true;
                if counts.ran() > 0 {
                    self.covered.extend(self.built.get(&running.binary).cloned());
                }
            }
        }
    }

    /// Reads what cargo tells programs. It ends with the build: from there on, tests have the word.
    fn read_message(&mut self, line: &str) -> bool {
        if self.build_is_over || !line.starts_with("{\"reason\":") {
            return false;
        }
        let Ok(message) = serde_json::from_str::<Message>(line) else { return false };
        self.build_is_over = message.reason == "build-finished";
        if let (Some(package), Some(target)) = (message.package_id, message.target) {
            let is_library = target.kind.iter().any(|kind| kind == "lib");
            if is_library {
                self.features
                    .extend(message.features.into_iter().map(|feature| (target.name.clone(), feature)));
            }
            if let Some(binary) = message.executable.as_deref().and_then(Path::file_name) {
                self.built.insert(binary.to_owned(), TestFile { package, name: target.name });
            }
        }
        true
    }
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    target: Option<Built>,
    #[serde(default)]
    features: Vec<String>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Built {
    name: String,
    kind: Vec<String>,
}

/// The name in `test a::b ... ignored, needs PostgreSQL`.
fn ignored_test(line: &str) -> Option<&str> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    (outcome == "ignored" || outcome.starts_with("ignored, ")).then_some(name)
}

/// Colours stay on for whoever reads along, but not here.
fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, sequence)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = sequence.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        // the letter that ends the sequence
        rest = rest.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(rest);
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSING: &str =
        "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
    const EMPTY: &str =
        "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    fn read(harness: Harness, lines: &[&str]) -> Reader {
        let mut reader = Reader::default();
        for line in lines {
            reader.read(harness, line);
        }
        reader.close();
        reader
    }

    fn built(name: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"p","target":{{"kind":["test"],"name":"{name}"}},
               "features":["testing"],"executable":"/t/{name}-0123"}}"#
        )
        .replace('\n', "")
    }

    #[test]
    fn cargo_test_sums_up_its_binaries_and_tells_which_ran() {
        let reader = read(
            Harness::CargoTest,
            &[
                &built("behaviour"),
                &built("empty"),
                r#"{"reason":"build-finished","success":true}"#,
                "     Running unittests src/lib.rs (/t/core-4567)",
                CLOSING,
                "     Running tests/behaviour.rs (target/debug/deps/behaviour-0123)",
                CLOSING,
                "     Running tests/empty.rs (target/debug/deps/empty-0123)",
                EMPTY,
            ],
        );
        assert_eq!(reader.counts, Counts { passed: 4, failed: 0, skipped: 0 });
        assert_eq!(reader.covered, [TestFile { package: "p".to_owned(), name: "behaviour".to_owned() }]);
        assert!(reader.unfinished.is_empty());
    }

    #[test]
    fn a_binary_that_ends_without_its_closing_line_is_told() {
        let reader = read(
            Harness::CargoTest,
            &["     Running tests/exits.rs (/t/exits-1)", "     Running tests/fine.rs (/t/fine-1)", CLOSING],
        );
        assert_eq!(reader.unfinished, ["tests/exits.rs (/t/exits-1)"]);

        let reader = read(Harness::CargoTest, &["     Running tests/exits.rs (/t/exits-1)"]);
        assert_eq!(reader.unfinished.len(), 1);
    }

    #[test]
    fn ignored_tests_are_known_by_name() {
        let reader = read(
            Harness::CargoTest,
            &[
                "test runs ... ok",
                "test tests::sleeps ... ignored",
                "test waits ... ignored, needs PostgreSQL: cargo xtask test",
                "test says::ignored ... ok",
            ],
        );
        assert_eq!(reader.ignored, ["tests::sleeps", "waits"]);
    }

    #[test]
    fn doctests_of_several_crates_add_up() {
        let reader = read(Harness::CargoTest, &["   Doc-tests a", CLOSING, EMPTY, "   Doc-tests b", CLOSING]);
        assert_eq!(reader.counts.passed, 4);
        assert!(reader.unfinished.is_empty());
    }

    #[test]
    fn what_cargo_tells_programs_is_kept_from_people_until_the_build_is_over() {
        let mut reader = Reader::default();
        let finished = r#"{"reason":"build-finished","success":true}"#;
        assert_eq!(reader.read(Harness::CargoTest, finished), Audience::Xtask);
        assert_eq!(reader.read(Harness::CargoTest, finished), Audience::People);
    }

    #[test]
    fn features_of_libraries_are_known() {
        let line = r#"{"reason":"compiler-artifact","package_id":"p","features":["default","tokio"],
                       "target":{"kind":["lib"],"name":"logcontext"},"executable":null}"#;
        let reader = read(Harness::CargoTest, &[&line.replace('\n', "")]);
        assert!(reader.features.contains(&("logcontext".to_owned(), "tokio".to_owned())));
    }

    #[test]
    fn colours_do_not_hide_the_closing_line() {
        let line = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.016s] \u{1b}[1m3\u{1b}[0m tests run: \
                    \u{1b}[1m3\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped";
        assert_eq!(read(Harness::Nextest, &[line]).counts.passed, 3);
    }
}

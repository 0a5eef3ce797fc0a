//! Which files of tests ran. A file that is compiled to nothing, or that no suite picks up, shows in no
//! closing line: so each file of each package's `tests/` must have run in one suite at least.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::suite::Ignored;
use crate::workspace::{Metadata, cargo};

/// One file, or folder with a `main.rs`, in a package's `tests/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestFile {
    /// Cargo's id of the package
    pub(crate) package: String,
    pub(crate) name: String,
}

impl TestFile {
    /// Those that the workspace has.
    pub(crate) fn all_of(metadata: &Metadata) -> Vec<Self> {
        let mut files = Vec::new();
        for package in &metadata.packages {
            for target in &package.targets {
                if target.test && target.kind.iter().any(|kind| kind == "test") {
                    files.push(Self { package: package.id.clone(), name: target.name.clone() });
                }
            }
        }
        files
    }

    /// What to call it in a message.
    pub(crate) fn title(&self, metadata: &Metadata) -> String {
        let package = metadata.packages.iter().find(|package| package.id == self.package);
        format!("`{}` in the tests of {}", self.name, package.map_or(&self.package, |package| &package.name))
    }
}

/// Those of `expected` of which no test ran.
pub(crate) fn missing(expected: &[TestFile], covered: &[TestFile]) -> Vec<TestFile> {
    expected.iter().filter(|file| !covered.contains(file)).cloned().collect()
}

/// What nextest knows after a run, and its closing line does not tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NextestList {
    pub(crate) covered: Vec<TestFile>,
    /// Tests that did not run, as they are marked with `#[ignore]`
    pub(crate) ignored: Vec<String>,
}

impl NextestList {
    /// Asks nextest for the tests of the whole workspace, which must be built already.
    pub(crate) fn ask(ignored: Ignored) -> Result<Self> {
        let output = cargo()?
            .args(["nextest", "list", "--workspace", "--all-features", "--message-format", "json"])
            .args(ignored.for_nextest())
            .output()
            .context("cannot start cargo")?;
        ensure!(
            output.status.success(),
            "cargo nextest list failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Self::parse(&output.stdout)
    }

    fn parse(json: &[u8]) -> Result<Self> {
        let listing: Listing =
            serde_json::from_slice(json).context("cannot read the answer of cargo nextest list")?;
        let mut list = Self::default();
        for binary in listing.binaries.into_values() {
            if binary.kind == "test" && binary.tests.values().any(Test::ran) {
                list.covered.push(TestFile { package: binary.package.clone(), name: binary.name.clone() });
            }
            for (test, _) in binary.tests.iter().filter(|(_, test)| !test.ran()) {
                list.ignored.push(format!("{} {test}", binary.name));
            }
        }
        Ok(list)
    }
}

#[derive(Deserialize)]
struct Listing {
    #[serde(rename = "rust-suites")]
    binaries: BTreeMap<String, Binary>,
}

#[derive(Deserialize)]
struct Binary {
    #[serde(rename = "package-id")]
    package: String,
    #[serde(rename = "binary-name")]
    name: String,
    kind: String,
    #[serde(rename = "testcases")]
    tests: BTreeMap<String, Test>,
}

#[derive(Deserialize)]
struct Test {
    #[serde(rename = "filter-match")]
    filter: Filter,
}

/// Whether the run that was asked for has the test
#[derive(Deserialize)]
struct Filter {
    status: String,
}

impl Test {
    fn ran(&self) -> bool {
        self.filter.status == "matches"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> TestFile {
        TestFile { package: "path+file:///w/core#0.1.0".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn a_file_that_no_suite_ran_is_missing() {
        let expected = [file("behaviour"), file("tokio_unstable")];
        assert_eq!(missing(&expected, &[file("behaviour")]), [file("tokio_unstable")]);
        assert_eq!(missing(&expected, &expected), []);
    }

    #[test]
    fn the_same_name_in_another_package_does_not_count() {
        let other =
            TestFile { package: "path+file:///w/http#0.1.0".to_owned(), name: "behaviour".to_owned() };
        assert_eq!(missing(&[file("behaviour")], &[other]), [file("behaviour")]);
    }

    const RAN: &str = r#"{"kind":"test","ignored":false,"filter-match":{"status":"matches"}}"#;
    const RAN_THOUGH_IGNORED: &str = r#"{"kind":"test","ignored":true,"filter-match":{"status":"matches"}}"#;
    const IGNORED: &str =
        r#"{"kind":"test","ignored":true,"filter-match":{"status":"mismatch","reason":"ignored"}}"#;

    #[test]
    fn nextest_tells_which_files_have_tests_and_which_tests_are_ignored() {
        let binary = |name: &str, kind: &str, tests: &str| {
            format!(
                r#""core::{name}":{{"package-id":"p","binary-name":"{name}","kind":"{kind}","testcases":{{{tests}}}}}"#
            )
        };
        let json = format!(
            r#"{{"test-count":2,"rust-suites":{{{},{},{},{},{}}}}}"#,
            binary("core", "lib", &format!(r#""tests::adds":{RAN}"#)),
            binary("behaviour", "test", &format!(r#""a":{RAN},"b":{IGNORED}"#)),
            binary("empty", "test", ""),
            binary("asleep", "test", &format!(r#""c":{IGNORED}"#)),
            binary("awake", "test", &format!(r#""d":{RAN_THOUGH_IGNORED}"#)),
        );
        let list = NextestList::parse(json.as_bytes()).unwrap();
        let file = |name: &str| TestFile { package: "p".to_owned(), name: name.to_owned() };
        assert_eq!(list.covered, [file("awake"), file("behaviour")]);
        assert_eq!(list.ignored, ["asleep c", "behaviour b"]);
    }
}

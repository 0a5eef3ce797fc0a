//! promtool, Prometheus's own checker: a program, no server.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::Unavailable;
use crate::folder::TempFolder;
use crate::programs::{folder_with, is_executable, on_path};

/// promtool, to check expositions with.
///
/// ```no_run
/// use logcontext_testservers::Promtool;
///
/// let promtool = Promtool::find().unwrap();
/// assert_eq!(promtool.check_metrics("up 1\n"), Err("up no help text".to_owned()));
/// ```
#[derive(Clone, Debug)]
pub struct Promtool(PathBuf);

impl Promtool {
    /// The environment variable that tells where the program is, where that is not on the path.
    pub const VARIABLE: &str = "LOGCONTEXT_TEST_PROMTOOL";

    /// The Debian package that has it: next to the server itself, which is not needed.
    pub const PACKAGE: &str = "prometheus";

    /// Its place in an unpacked package.
    pub const IN_PACKAGE: &str = "usr/bin/promtool";

    /// The one that [`VARIABLE`](Self::VARIABLE) names, or else the one on the path.
    ///
    /// # Errors
    ///
    /// Where there is none: how to get it.
    pub fn find() -> Result<Self, Unavailable> {
        match env::var_os(Self::VARIABLE) {
            Some(path) if !path.is_empty() => Self::at(Path::new(&path)),
            _ => folder_with(&["promtool"], on_path().into_iter())
                .map(|folder| Self(folder.join("promtool")))
                .ok_or_else(|| {
                    Unavailable::new("promtool is missing (to install it: apt-get install -y prometheus)")
                }),
        }
    }

    /// The one that lies there.
    ///
    /// # Errors
    ///
    /// Where there is no program.
    pub fn at(path: &Path) -> Result<Self, Unavailable> {
        let unavailable = || Unavailable::new(format!("{} is no program", path.display()));
        is_executable(path).then(|| Self(path.to_owned())).ok_or_else(unavailable)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// `promtool check metrics`: finds what is wrong with an exposition in Prometheus's format, and which names are
    /// not as they should be.
    ///
    /// # Errors
    ///
    /// What it says, if it says anything.
    ///
    /// # Panics
    ///
    /// If the program cannot be run.
    pub fn check_metrics(&self, exposition: &str) -> Result<(), String> {
        let mut child =
            self.command("metrics").stdin(Stdio::piped()).spawn().unwrap_or_else(|error| self.broken(&error));
        // It reads all before it says anything; where it has ended before, what it said tells why.
        let _ = child.stdin.take().expect("stdin is a pipe").write_all(exposition.as_bytes());
        let said = self.said(child.wait_with_output());
        if said == Ok(String::new()) { Ok(()) } else { Err(said.unwrap_or_else(|said| said)) }
    }

    /// `promtool check rules`: reads alerts and recording rules, and tells how many there are.
    ///
    /// # Errors
    ///
    /// What it says of those that are wrong.
    ///
    /// # Panics
    ///
    /// If the program cannot be run.
    pub fn check_rules(&self, rules: &str) -> Result<usize, String> {
        let folder = TempFolder::create("rules").expect("a temporary folder can be made");
        let file = folder.path().join("rules.yml");
        fs::write(&file, rules).expect("a file can be written there");
        let said = self.said(self.command("rules").arg(&file).stdin(Stdio::null()).output())?;
        let count =
            said.split_once("SUCCESS: ").and_then(|(_, rest)| rest.split_once(" rules")?.0.parse().ok());
        count.ok_or(said)
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.args(["check", what]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// All that it said; an error if it was not content.
    fn said(&self, output: io::Result<Output>) -> Result<String, String> {
        let output = output.unwrap_or_else(|error| self.broken(&error));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    fn broken(&self, error: &io::Error) -> ! {
        panic!("cannot run {}: {error}", self.0.display())
    }
}

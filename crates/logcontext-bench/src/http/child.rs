//! A server in a process of its own, seen from outside.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

use super::Kind;

/// It says its port, and for each line that it gets the nanoseconds of CPU that it has used so far. It ends when there
/// are no more lines to come.
pub(super) struct Child {
    process: Process,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(super) port: u16,
}

impl Child {
    pub(super) fn start(kind: Kind, log: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", kind.name(), "--log"]).arg(log);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("its output is a pipe")?);
        let mut child = Self { process, ask, answers, port: 0 };
        child.port = child.answer()?.try_into()?;
        Ok(child)
    }

    /// The CPU that it has used, in nanoseconds, by its own clock.
    pub(super) fn cpu_nanos(&mut self) -> Result<u64> {
        self.ask.as_mut().context("asked until it is dropped")?.write_all(b"\n")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the server answered {line:?} instead of a number"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // That ends it.
        self.ask = None;
        let _ = self.process.wait();
    }
}

//! A process of its own that works for a benchmark, seen from outside.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

/// It says a number when it is ready, and for each line that it gets the nanoseconds of CPU that it has used so far. It ends
/// when there are no more lines to come.
pub(crate) struct Child {
    process: Process,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Child {
    /// This program with these arguments. Answers what it has said, too.
    pub(crate) fn start<A: AsRef<OsStr>>(arguments: &[A]) -> Result<(Self, u64)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("its output is a pipe")?);
        let mut child = Self { process, ask, answers };
        let said = child.answer()?;
        Ok((child, said))
    }

    /// The CPU that it has used, in nanoseconds, by its own clock.
    pub(crate) fn cpu_nanos(&mut self) -> Result<u64> {
        self.ask.as_mut().context("asked until it is dropped")?.write_all(b"\n")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<u64> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        line.trim().parse().with_context(|| format!("the process answered {line:?} instead of a number"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // That ends it.
        self.ask = None;
        let _ = self.process.wait();
    }
}

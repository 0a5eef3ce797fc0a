//! Runs one suite: its output streams through, and is read on the way.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::counts::Counts;
use super::coverage::{NextestList, TestFile};
use super::harness::{Audience, Harness, Reader};
use super::suite::{Ignored, Suite};

/// What became of a suite.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) counts: Counts,
    pub(crate) elapsed: Duration,
    /// Why the suite cannot be said to have run
    pub(crate) problems: Vec<String>,
    /// Names of skipped tests, where known
    pub(crate) ignored: Vec<String>,
    pub(crate) covered: Vec<TestFile>,
}

/// Runs the suite.
///
/// # Errors
///
/// Where cargo cannot be started, or its output cannot be passed on. A suite that fails is no error, but
/// an [`Outcome`].
pub(crate) fn run(suite: Suite) -> Result<Outcome> {
    println!("\n== {}: {}", suite.name, in_words(&suite.command));
    let start = Instant::now();
    let mut outcome = Outcome {
        name: suite.name,
        counts: Counts::default(),
        elapsed: Duration::ZERO,
        problems: Vec::new(),
        ignored: Vec::new(),
        covered: Vec::new(),
    };

    for need in suite.needs.iter().filter(|need| !need.is_there()) {
        outcome.problems.push(format!("did not run: it needs {need}"));
    }
    if outcome.problems.is_empty() {
        let (status, reader) = stream(suite.command, suite.harness)?;
        outcome.judge(status, reader, suite.harness, suite.ignored, suite.without)?;
    }
    outcome.elapsed = start.elapsed();
    Ok(outcome)
}

impl Outcome {
    fn judge(
        &mut self,
        status: ExitStatus,
        reader: Reader,
        harness: Harness,
        ignored: Ignored,
        without: Option<(&str, &str)>,
    ) -> Result<()> {
        self.counts = reader.counts;
        self.covered = reader.covered;
        self.ignored = reader.ignored;

        if !status.success() && self.counts.failed == 0 {
            self.problems.push(format!("no test failed, but the command did ({status})"));
        }
        for binary in reader.unfinished {
            self.problems.push(format!("{binary} ended before its tests had"));
        }
        if self.counts.ran() == 0 {
            self.problems.push("ran no test".to_owned());
        } else if harness == Harness::Nextest {
            let list = NextestList::ask(ignored)?;
            self.covered = list.covered;
            self.ignored = list.ignored;
        }
        if let Some((library, feature)) = without
            && reader.features.contains(&(library.to_owned(), feature.to_owned()))
        {
            self.problems.push(format!(
                "{library} was built with its feature `{feature}`, which must be off here: something that \
                 the tests depend on turns it on"
            ));
        }
        Ok(())
    }
}

/// Both streams of the command go through one pipe, which keeps their lines in order.
fn stream(mut command: Command, harness: Harness) -> Result<(ExitStatus, Reader)> {
    let (output, input) = io::pipe().context("cannot make a pipe")?;
    command.stdout(input.try_clone()?).stderr(input);
    let mut child = command.spawn().context("cannot start cargo")?;
    // It holds the pipe's inputs: without it, the output ends when the child does.
    drop(command);

    let mut reader = Reader::default();
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        let audience = reader.read(harness, String::from_utf8_lossy(&line).trim_end());
        if audience == Audience::People {
            let mut stdout = io::stdout();
            stdout.write_all(&line)?;
            stdout.flush()?;
        }
        line.clear();
    }
    reader.close();
    Ok((child.wait()?, reader))
}

/// The command as one would type it.
fn in_words(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}='{}'", name.display(), value.display()));
        }
    }
    words.push("cargo".to_owned());
    words.extend(command.get_args().map(|arg| arg.display().to_string()));
    words.join(" ")
}

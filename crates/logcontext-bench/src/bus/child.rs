//! A worker in a process of its own, seen from outside and from inside.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};
use clap::ValueEnum;
use logcontext_bus::Bus;
use tokio::runtime::Builder;

use super::{Side, bare_redis, ours};
use crate::cpu::process_nanos;

/// It says when it is ready, and for each line that it gets the nanoseconds of CPU that it has used so far. It ends when
/// there are no more lines to come.
pub(super) struct Child {
    process: Process,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Child {
    pub(super) fn start(side: Side, url: &str, prefix: &str) -> Result<Self> {
        let side = side.to_possible_value().context("each side has a name")?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve-bus", side.get_name(), "--url", url, "--prefix", prefix]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let ask = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().context("its output is a pipe")?);
        let mut child = Self { process, ask, answers };
        child.answer()?;
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
        line.trim().parse().with_context(|| format!("the worker answered {line:?} instead of a number"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // That ends it.
        self.ask = None;
        let _ = self.process.wait();
    }
}

/// The process of one worker.
pub(crate) fn serve(side: Side, url: &str, prefix: &str) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _bus = match side {
        Side::Ours => Some(runtime.block_on(async {
            let bus = Bus::connect(&ours::config(url, prefix)).await?;
            ours::serve_echo(&bus).await?;
            anyhow::Ok(bus)
        })?),
        Side::Bare => {
            runtime.block_on(bare_redis::serve(url, prefix))?;
            None
        }
    };
    println!("0");
    for line in io::stdin().lock().lines() {
        line?;
        println!("{}", process_nanos());
        io::stdout().flush()?;
    }
    runtime.shutdown_background();
    Ok(())
}

//! A process of `presence`.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than this no process takes to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Named by whoever has built it.
const VARIABLE: &str = "LOGCONTEXT_BENCH_PRESENCE";

pub(super) struct Presence {
    child: Child,
    pub(super) address: SocketAddr,
    _folder: TempDir,
}

impl Presence {
    /// Starts it with this configuration, on a free port, and waits until it listens.
    pub(super) fn start(config: &str) -> Result<Self> {
        let program = std::env::var_os(VARIABLE).map(PathBuf::from);
        let program =
            program.with_context(|| format!("{VARIABLE} is not set: expected the path of presence"))?;
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("presence.log");
        let file = folder.path().join("presence.toml");
        let common =
            "[log]\ntarget = \"presence.log\"\nfilter = \"info\"\n[[listeners]]\naddress = \"127.0.0.1:0\"\n";
        fs::write(&file, format!("{common}{config}"))?;
        let mut command = Command::new(program);
        command.args(["serve", "--config", "presence.toml"]).current_dir(folder.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(&log).unwrap_or_default();
            if let Some(address) = listens(&text) {
                return Ok(Self { child, address, _folder: folder });
            }
            if let Some(status) = child.try_wait()? {
                bail!("presence has ended ({status}): {text}");
            }
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                bail!("presence does not listen: {text}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// User and system time so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // Behind its name, which may have anything in it.
        let fields: Vec<_> = stat.rsplit_once(')').context("a name")?.1.split_whitespace().collect();
        let ticks = |at: usize| -> Result<u64> { Ok(fields.get(at).context("a field")?.parse()?) };
        let ticks = ticks(11)? + ticks(12)?;
        Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
    }

    /// Tells it to end, and waits for that.
    pub(super) fn end(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "presence has ended with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("presence does not end")
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listens(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(": listening "))?;
    line.split_once("address=")?.1.split(' ').next()?.parse().ok()
}

/// How busy the machine was between two looks.
pub(super) struct Machine(u64, u64);

impl Machine {
    pub(super) fn look() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().context("a line for all processors")?;
        let ticks: Vec<u64> =
            line.split_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
        ensure!(ticks.len() > 4, "expected user, nice, system, idle, iowait, found {line:?}");
        Ok(Self(ticks.iter().take(8).sum(), ticks[3] + ticks[4]))
    }

    /// The part of all processors' time that nobody used since.
    pub(super) fn idle_since(&self) -> Result<f64> {
        let now = Self::look()?;
        Ok((now.1 - self.1) as f64 / (now.0 - self.0).max(1) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_listens_is_in_its_log() {
        let log = "2026-11-22T00:00:00Z INFO startup logcontext_service: starting\n\
            2026-11-22T00:00:01Z INFO startup logcontext_service::service: listening name=- address=127.0.0.1:8008 tls=false\n";
        assert_eq!(listens(log), Some("127.0.0.1:8008".parse().unwrap()));
        assert_eq!(listens("starting"), None);
    }
}

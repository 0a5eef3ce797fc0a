//! Where and from what a figure was measured. What cannot be found out is `null`, not a guess.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::SystemTime;

use serde::Serialize;

use crate::workspace::root;

#[derive(Serialize)]
pub(crate) struct Machine {
    cpu: Option<String>,
    cores: Option<usize>,
    kernel: Option<String>,
    rustc: Option<String>,
    /// In UTC
    date: String,
    commit: Option<String>,
    /// Did the working tree differ from the commit?
    dirty: Option<bool>,
}

impl Machine {
    /// This machine, and this state of the repository.
    pub(crate) fn describe() -> Self {
        let changes = answer("git", &["status", "--porcelain"]);
        Self {
            cpu: cpu_model(),
            cores: thread::available_parallelism().ok().map(usize::from),
            kernel: answer("uname", &["-sr"]),
            rustc: answer("rustc", &["--version"]),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: answer("git", &["rev-parse", "--verify", "HEAD"]),
            dirty: changes.map(|changes| !changes.is_empty()),
        }
    }

    /// The day, as in `2026-11-21`.
    pub(crate) fn date(&self) -> &str {
        self.date.split_once('T').map_or(&self.date, |(day, _)| day)
    }
}

fn cpu_model() -> Option<String> {
    fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|cpuinfo| model_name(&cpuinfo))
        .or_else(|| answer("sysctl", &["-n", "machdep.cpu.brand_string"]))
}

fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What the program prints, if it is there and succeeds.
fn answer(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(args)
        .current_dir(root().ok().as_deref().unwrap_or(Path::new(".")))
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_read_from_cpuinfo() {
        let cpuinfo =
            "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Example CPU @ 2.00GHz\n\nprocessor\t: 1\n";
        assert_eq!(model_name(cpuinfo).as_deref(), Some("Example CPU @ 2.00GHz"));
        assert_eq!(model_name("processor : 0\n"), None);
    }

    #[test]
    fn what_cannot_be_found_out_is_absent() {
        assert_eq!(answer("no-such-program", &[]), None);
        assert_eq!(answer("cargo", &["no-such-command"]), None);
    }

    #[test]
    fn the_date_is_a_day() {
        let machine = Machine::describe();
        assert_eq!(machine.date().len(), "2026-11-21".len());
        assert!(machine.date.ends_with('Z'));
    }
}

//! What must be on the machine besides Rust.

use std::fmt;
use std::process::{Command, Stdio};

/// A program that must be installed.
pub(crate) struct Need {
    pub(crate) name: &'static str,
    pub(crate) probe: Probe,
    /// The command line that installs it.
    pub(crate) install: &'static str,
}

/// How to find out whether a program is installed.
pub(crate) enum Probe {
    /// By a command line that succeeds where it is
    Answers(&'static [&'static str]),
    /// By a search, where programs lie outside of PATH
    Finds(fn() -> bool),
}

/// Runs tests side by side, each in a process of its own.
pub(crate) const NEXTEST: Need = Need {
    name: "cargo-nextest",
    probe: Probe::Answers(&["cargo", "nextest", "--version"]),
    install: "cargo install --locked cargo-nextest",
};

impl Need {
    /// Is it installed?
    pub(crate) fn is_there(&self) -> bool {
        match self.probe {
            Probe::Answers([program, args @ ..]) => answers(program, args),
            Probe::Answers([]) => false,
            Probe::Finds(find) => find(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (to install it: {})", self.name, self.install)
    }
}

fn answers(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_named_with_the_command_that_installs_it() {
        let absent = Need {
            name: "redis",
            probe: Probe::Answers(&["no-such-redis", "--version"]),
            install: "apt-get install -y redis",
        };
        assert!(!absent.is_there());
        assert_eq!(absent.to_string(), "redis (to install it: apt-get install -y redis)");
    }

    #[test]
    fn a_program_that_answers_the_probe_is_there() {
        let cargo = Need { name: "cargo", probe: Probe::Answers(&["cargo", "--version"]), install: "" };
        assert!(cargo.is_there());
    }

    #[test]
    fn a_search_can_go_either_way() {
        let need = |found: fn() -> bool| Need { name: "", probe: Probe::Finds(found), install: "" };
        assert!(need(|| true).is_there());
        assert!(!need(|| false).is_there());
    }
}

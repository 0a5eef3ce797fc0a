//! What a suite needs on the machine besides Rust.

use std::fmt;
use std::process::{Command, Stdio};

/// A program that must be installed.
pub(crate) struct Need {
    pub(crate) name: &'static str,
    /// A command line that succeeds where the program is installed.
    pub(crate) probe: &'static [&'static str],
    /// The command line that installs it.
    pub(crate) install: &'static str,
}

/// Runs tests side by side, each in a process of its own.
pub(crate) const NEXTEST: Need = Need {
    name: "cargo-nextest",
    probe: &["cargo", "nextest", "--version"],
    install: "cargo install --locked cargo-nextest",
};

impl Need {
    /// Is it installed?
    pub(crate) fn is_there(&self) -> bool {
        let [program, args @ ..] = self.probe else { return false };
        Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (to install it: {})", self.name, self.install)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_installed_is_named_with_the_command_that_installs_it() {
        let absent =
            Need { name: "redis", probe: &["no-such-redis", "--version"], install: "apt install redis" };
        assert!(!absent.is_there());
        assert_eq!(absent.to_string(), "redis (to install it: apt install redis)");
    }

    #[test]
    fn a_program_that_answers_the_probe_is_there() {
        let cargo = Need { name: "cargo", probe: &["cargo", "--version"], install: "" };
        assert!(cargo.is_there());
    }
}

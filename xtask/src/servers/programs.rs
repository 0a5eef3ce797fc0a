//! Programs that tests run, which are no servers.
//!
//! A package that has one often brings a service, which would be started as it is installed. So it is fetched and
//! unpacked instead: nothing outside of the target folder changes.

use std::path::{Path, PathBuf};

use logcontext_testservers::Promtool;

use super::{apt, is_set};
use crate::need::{Need, Probe};

pub(crate) struct Program {
    pub(super) need: Need,
    /// The Debian package that brings it
    pub(super) package: &'static str,
    /// The environment variable that tells tests where it is. Where it is set already, whoever did so has one.
    pub(super) variable: &'static str,
    /// Looks for it among what is installed, then in a folder with the unpacked package.
    pub(super) find: fn(&Path) -> Option<PathBuf>,
    /// Unpacks the package of this name into a folder.
    pub(super) unpack: fn(&str, &Path),
}

pub(crate) const PROMTOOL: Program = Program {
    need: Need {
        name: "promtool",
        probe: Probe::Finds(|| Promtool::find().is_ok()),
        install: "apt-get install -y prometheus",
    },
    package: Promtool::PACKAGE,
    variable: Promtool::VARIABLE,
    find: |folder| {
        let found = Promtool::find().or_else(|_| Promtool::at(&folder.join(Promtool::IN_PACKAGE)));
        Some(found.ok()?.path().to_owned())
    },
    unpack: apt::unpack,
};

/// All that tests need.
pub(crate) const ALL: &[Program] = &[PROMTOOL];

impl Program {
    pub(super) fn is_given(&self) -> bool {
        is_set(self.variable)
    }

    /// Where it is; it is fetched if it is nowhere yet.
    pub(super) fn find(&self, folder: &Path) -> Option<PathBuf> {
        let folder = folder.join(self.package);
        (self.find)(&folder).or_else(|| {
            (self.unpack)(self.package, &folder);
            (self.find)(&folder)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nowhere_is_unpacked_and_found_there() {
        let folder = std::env::temp_dir().join(format!("logcontext-xtask-programs-{}", std::process::id()));
        let program = Program {
            find: |folder| Some(folder.join("tool")).filter(|path| path.exists()),
            unpack: |_, folder| {
                std::fs::create_dir_all(folder).unwrap();
                std::fs::write(folder.join("tool"), "").unwrap();
            },
            package: "tools",
            ..PROMTOOL
        };
        let found = program.find(&folder);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found, Some(folder.join("tools").join("tool")));
    }

    #[test]
    #[ignore = "needs promtool: cargo xtask test"]
    fn promtool_is_found_or_unpacked_and_runs() {
        let folder = std::env::temp_dir().join(format!("logcontext-xtask-promtool-{}", std::process::id()));
        let found = PROMTOOL.find(&folder);
        let said = found.map(|path| Promtool::at(&path).unwrap().check_metrics("up 1\n"));
        let _ = std::fs::remove_dir_all(&folder);
        assert!(matches!(said, Some(Err(said)) if said.contains("help")));
    }
}

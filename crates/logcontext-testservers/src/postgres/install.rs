//! Where PostgreSQL's programs are.

use std::env;
use std::path::{Path, PathBuf};

use super::Postgres;
use crate::Unavailable;
use crate::programs::{by_version, folder_with, on_path};

/// Where Debian keeps the server's programs, outside of PATH.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The programs of one version.
#[derive(Debug)]
pub(super) struct Install {
    folder: PathBuf,
}

impl Install {
    /// The newest one of Debian's, or else the one on PATH.
    pub(super) fn find() -> Result<Self, Unavailable> {
        let folder = find(&["initdb", "postgres", "psql"])?;
        Ok(Self { folder })
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn psql(&self) -> PathBuf {
        self.folder.join("psql")
    }
}

/// The client alone, for a server that others have started.
pub(super) fn find_psql() -> Result<PathBuf, Unavailable> {
    find(&["psql"]).map(|folder| folder.join("psql"))
}

fn find(programs: &[&str]) -> Result<PathBuf, Unavailable> {
    let folders = match env::var_os(Postgres::PROGRAMS) {
        Some(folder) if !folder.is_empty() => vec![PathBuf::from(folder)],
        _ => [by_version(Path::new(DEBIAN)), on_path()].concat(),
    };
    find_in(programs, folders)
}

fn find_in(programs: &[&str], folders: Vec<PathBuf>) -> Result<PathBuf, Unavailable> {
    let searched: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    folder_with(programs, folders.into_iter()).ok_or_else(|| {
        Unavailable::new(format!(
            "PostgreSQL is missing: no folder has {} (to install it: apt-get install -y {}; or put the programs on \
             PATH, or name their folder in {}). Searched: {}",
            programs.join(", "),
            Postgres::PACKAGE,
            Postgres::PROGRAMS,
            if searched.is_empty() { "nothing".to_owned() } else { searched.join(", ") },
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_the_command_that_installs_it() {
        for folders in [vec![], vec![PathBuf::from("/no/such/folder")]] {
            let error = find_in(&["initdb", "psql"], folders).unwrap_err().to_string();
            assert!(error.contains("no folder has initdb, psql"), "{error}");
            assert!(error.contains("apt-get install -y postgresql"), "{error}");
        }
    }
}

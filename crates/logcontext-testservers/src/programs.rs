//! Where programs are.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::Unavailable;

/// A program of this name on `PATH`.
pub(crate) fn program(server: &str, program: &str, package: &str) -> Result<PathBuf, Unavailable> {
    program_in(on_path(), server, program, package)
}

fn program_in(
    folders: Vec<PathBuf>,
    server: &str,
    program: &str,
    package: &str,
) -> Result<PathBuf, Unavailable> {
    let missing = || {
        Unavailable::new(format!(
            "{server} is missing: no folder on PATH has {program} (to install it: apt-get install -y {package})"
        ))
    };
    folder_with(&[program], folders.into_iter()).map(|folder| folder.join(program)).ok_or_else(missing)
}

/// The first of these folders that has all of the programs.
pub(crate) fn folder_with(programs: &[&str], mut folders: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    folders.find(|folder| programs.iter().all(|program| is_executable(&folder.join(program))))
}

/// The folders that the shell would search.
pub(crate) fn on_path() -> Vec<PathBuf> {
    env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default()
}

/// `<parent>/<version>/bin` for each version there, the newest first.
pub(crate) fn by_version(parent: &Path) -> Vec<PathBuf> {
    let mut versions: Vec<(Vec<u32>, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            Some((version(&entry.file_name())?, entry.path().join("bin")))
        })
        .collect();
    versions.sort();
    versions.into_iter().rev().map(|(_, folder)| folder).collect()
}

/// `9.6` comes before `15`.
fn version(name: &OsStr) -> Option<Vec<u32>> {
    name.to_str()?.split('.').map(|part| part.parse().ok()).collect()
}

pub(crate) fn is_executable(program: &Path) -> bool {
    fs::metadata(program).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folder::TempFolder;

    fn install(folder: &Path, program: &str, mode: u32) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(program), "").unwrap();
        fs::set_permissions(folder.join(program), fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_missing_is_told_with_the_command_that_installs_it() {
        for folders in [vec![], vec!["/no/such/folder".into()]] {
            let error = program_in(folders, "Redis", "redis-server", "redis").unwrap_err().to_string();
            assert!(error.contains("has redis-server"), "{error}");
            assert!(error.contains("apt-get install -y redis)"), "{error}");
        }
    }

    #[test]
    fn the_newest_version_comes_first() {
        let folder = TempFolder::create("versions").unwrap();
        for version in ["9.6", "15", "17", "old", "9.6.3"] {
            fs::create_dir(folder.path().join(version)).unwrap();
        }
        let found = by_version(folder.path());
        let expected = ["17", "15", "9.6.3", "9.6"].map(|version| folder.path().join(version).join("bin"));
        assert_eq!(found, expected);
        assert_eq!(by_version(&folder.path().join("absent")), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_folder_must_have_all_programs() {
        let folder = TempFolder::create("programs").unwrap();
        let [client, both, neither] = ["client", "both", "neither"].map(|name| folder.path().join(name));
        install(&client, "psql", 0o755);
        install(&both, "psql", 0o755);
        install(&both, "initdb", 0o755);
        install(&neither, "psql", 0o644);
        let find = |programs: &[&str], folders: &[&PathBuf]| {
            folder_with(programs, folders.iter().map(|folder| (*folder).clone()))
        };

        assert_eq!(find(&["psql", "initdb"], &[&client, &both]), Some(both.clone()));
        assert_eq!(find(&["psql"], &[&neither, &client, &both]), Some(client.clone()));
        assert_eq!(find(&["psql", "initdb"], &[&neither, &client]), None);
    }
}

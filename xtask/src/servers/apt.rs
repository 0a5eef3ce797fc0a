//! Installs Debian packages, where the machine is ours to change, or only unpacks them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::need::{Need, Probe};

const APT_GET: Need = Need { name: "apt-get", probe: Probe::Answers(&["apt-get", "--version"]), install: "" };

/// Whether packages can be installed: as root, where there is apt-get. Elsewhere they are named.
pub(super) fn can_install() -> bool {
    is_root() && APT_GET.is_there()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").stdin(Stdio::null()).output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Installs the packages. Whether that worked shows when the programs are looked for again.
pub(super) fn install(packages: &[&str]) {
    // A fresh image has no lists of packages.
    for args in [vec!["update"], [&["install", "-y", "--no-install-recommends"], packages].concat()] {
        run(Command::new("apt-get").args(args).env("DEBIAN_FRONTEND", "noninteractive"));
    }
}

/// Unpacks the package into the folder, and installs nothing: for which one need not be root. Whether that worked shows
/// when its programs are looked for.
pub(super) fn unpack(package: &str, folder: &Path) {
    if !APT_GET.is_there() {
        return;
    }
    if let Err(error) = fs::create_dir_all(folder) {
        println!("cannot create {}: {error}", folder.display());
        return;
    }
    let download = || run(Command::new("apt-get").args(["download", package]).current_dir(folder));
    // A fresh image has no lists of packages.
    let update = || is_root() && run(Command::new("apt-get").arg("update"));
    let is_here = download() || (update() && download());
    if !is_here {
        return;
    }
    for archive in archives(folder) {
        run(Command::new("dpkg").arg("-x").arg(&archive).arg(folder));
        let _ = fs::remove_file(archive);
    }
}

fn archives(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .collect()
}

/// Says what it does, and what came of it if that was nothing good.
fn run(command: &mut Command) -> bool {
    let program = command.get_program().to_string_lossy().into_owned();
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    println!("{program} {}", args.join(" "));
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => return true,
        Ok(status) => println!("{program} failed: {status}"),
        Err(error) => println!("cannot start {program}: {error}"),
    }
    false
}

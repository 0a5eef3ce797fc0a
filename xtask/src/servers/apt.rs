//! Installs Debian packages, where the machine is ours to change.

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
        println!("apt-get {}", args.join(" "));
        let status = Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => println!("apt-get failed: {status}"),
            Err(error) => println!("cannot start apt-get: {error}"),
        }
    }
}

//! `cargo xtask licences`: what deny.toml says of licences, banned crates and sources, without the
//! minutes that cargo-deny takes to compile. Advisories and duplicates are left to cargo-deny.

mod policy;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workspace::{Metadata, root};
use policy::Policy;

/// Checks the packages of the workspace and all they depend on.
pub(crate) fn run() -> Result<ExitCode> {
    let path = root()?.join("deny.toml");
    let policy = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))
        .and_then(|text| Policy::parse(&text))?;

    let metadata = Metadata::of_everything()?;
    let mut complaints = 0;
    for package in &metadata.packages {
        for complaint in policy.complaints(package) {
            println!("{} {}: {complaint}", package.name, package.version);
            complaints += 1;
        }
    }
    println!("{} packages checked, {complaints} complaints", metadata.packages.len());
    Ok(if complaints == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! `cargo xtask features`: whoever takes one feature of a package gets something that compiles.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::workspace::{Metadata, Package, cargo};

/// Checks each package of the workspace with no features, then with each of its features alone.
pub(crate) fn run() -> Result<ExitCode> {
    let metadata = Metadata::of_members()?;
    let mut failed = Vec::new();
    let mut checked = 0;
    for package in &metadata.packages {
        for args in combinations(package) {
            eprintln!("cargo {}", args.join(" "));
            let status = cargo()?.args(&args).arg("--quiet").status().context("cannot start cargo")?;
            checked += 1;
            if !status.success() {
                failed.push(args.join(" "));
            }
        }
    }
    for args in &failed {
        println!("failed: cargo {args}");
    }
    println!("{checked} combinations checked, {} failed", failed.len());
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn combinations(package: &Package) -> Vec<Vec<&str>> {
    let none = vec!["check", "--package", &package.name, "--no-default-features"];
    let alone = package.features.keys().map(|feature| {
        let mut args = none.clone();
        args.extend(["--features", feature]);
        args
    });
    [none.clone()].into_iter().chain(alone).collect()
}

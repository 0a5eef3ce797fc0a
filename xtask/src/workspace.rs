//! The workspace as cargo describes it, and cargo itself.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> Result<PathBuf> {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").context("start this as `cargo xtask`")?;
    let root = Path::new(&xtask).parent().context("xtask lies in no workspace")?;
    Ok(root.to_owned())
}

/// The cargo that started xtask, in the workspace's root, without input.
pub(crate) fn cargo() -> Result<Command> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()?).stdin(Stdio::null());
    // `cargo run` describes xtask in the environment. Build scripts that watch these variables would
    // run again each time that a crate is built from here and then from a shell.
    for (name, _) in env::vars_os() {
        let is_about_xtask = name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"));
        if is_about_xtask {
            cargo.env_remove(name);
        }
    }
    Ok(cargo)
}

/// What `cargo metadata` tells, as far as a chore asks for it.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) target_directory: PathBuf,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) manifest_path: PathBuf,
    /// `None` where the package comes from this repository
    pub(crate) source: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) targets: Vec<Target>,
    pub(crate) metadata: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) rename: Option<String>,
    pub(crate) kind: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) test: bool,
}

impl Metadata {
    /// The packages of the workspace alone.
    pub(crate) fn of_members() -> Result<Self> {
        Self::read(&["--no-deps"])
    }

    /// The packages of the workspace and all they depend on, with every feature, on every platform.
    pub(crate) fn of_everything() -> Result<Self> {
        Self::read(&["--all-features"])
    }

    fn read(args: &[&str]) -> Result<Self> {
        let output = cargo()?
            .args(["metadata", "--format-version", "1"])
            .args(args)
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        ensure!(output.status.success(), "cargo metadata failed: {}", output.status);
        serde_json::from_slice(&output.stdout).context("cannot read the answer of cargo metadata")
    }
}

impl Package {
    /// The folder of the package's `Cargo.toml`.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }
}

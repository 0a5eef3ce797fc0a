//! `cargo xtask unused`: dependencies that their package never names.
//!
//! A crate is used where its name starts a path, is imported, or is declared with `extern crate`. What a
//! package ships must be named in what it ships: for a `[dependencies]` entry, tests do not count. For a
//! `[dev-dependencies]` entry, all sources count, and the examples in documentation.
//!
//! A dependency that is there for another reason, such as to turn on a feature of a crate further down,
//! is listed with the package as cargo-shear wants it: `[package.metadata.cargo-shear]`,
//! `ignored = ["its-name"]`.

mod names;
mod prose;
mod sources;

use std::process::ExitCode;

use anyhow::Result;

use crate::workspace::{Dependency, Metadata, Package};
use names::Names;
use sources::Sources;

/// Checks the packages of the workspace.
pub(crate) fn run() -> Result<ExitCode> {
    let metadata = Metadata::of_members()?;
    let mut checked = 0;
    let mut unused = 0;
    for package in &metadata.packages {
        let sources = Sources::of(package.folder())?;
        for dependency in &package.dependencies {
            checked += 1;
            let name = dependency.name_in_code();
            if !sources.of_kind(dependency.kind.as_deref()).contain(&name) && !is_ignored(package, dependency)
            {
                println!("{}: `{}` is not used ({})", package.name, dependency.name, dependency.section());
                unused += 1;
            }
        }
    }
    println!("{checked} dependencies checked, {unused} unused");
    Ok(if unused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_ignored(package: &Package, dependency: &Dependency) -> bool {
    package
        .metadata
        .as_ref()
        .and_then(|metadata| metadata.pointer("/cargo-shear/ignored")?.as_array())
        .is_some_and(|ignored| ignored.iter().any(|name| name.as_str() == Some(&dependency.name)))
}

impl Sources {
    fn of_kind(&self, kind: Option<&str>) -> &Names {
        match kind {
            None => &self.shipped,
            Some("build") => &self.build_script,
            Some(_) => &self.all,
        }
    }
}

impl Dependency {
    fn name_in_code(&self) -> String {
        self.rename.as_ref().unwrap_or(&self.name).replace('-', "_")
    }

    fn section(&self) -> &'static str {
        match self.kind.as_deref() {
            None => "dependencies",
            Some("build") => "build-dependencies",
            Some(_) => "dev-dependencies",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn dependency(name: &str, rename: Option<&str>) -> Dependency {
        serde_json::from_value(json!({"name": name, "rename": rename, "kind": null})).unwrap()
    }

    #[test]
    fn code_writes_underscores_and_knows_only_the_new_name() {
        assert_eq!(dependency("pin-project-lite", None).name_in_code(), "pin_project_lite");
        assert_eq!(dependency("tokio", Some("tokio-one")).name_in_code(), "tokio_one");
    }

    #[test]
    fn a_package_can_say_that_a_dependency_is_there_on_purpose() {
        let package: Package = serde_json::from_value(json!({
            "id": "a", "name": "a", "version": "1.0.0", "manifest_path": "/w/Cargo.toml", "source": null,
            "license": null, "dependencies": [], "features": {}, "targets": [],
            "metadata": {"cargo-shear": {"ignored": ["getrandom"]}},
        }))
        .unwrap();
        assert!(is_ignored(&package, &dependency("getrandom", None)));
        assert!(!is_ignored(&package, &dependency("log", None)));
    }
}

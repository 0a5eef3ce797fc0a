//! The sources of a package, by what they are for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::names::Names;
use super::prose;

/// What the sources of one package name.
pub(super) struct Sources {
    /// In libraries and binaries
    pub(super) shipped: Names,
    pub(super) build_script: Names,
    /// Anywhere: tests, benches, and examples of all kinds included
    pub(super) all: Names,
}

impl Sources {
    /// Reads the package in this folder.
    pub(super) fn of(package: &Path) -> Result<Self> {
        let mut all = Names::default();
        let shipped = read_folder(&package.join("src"), &mut all)?;
        for other in ["tests", "benches", "examples"] {
            let names = read_folder(&package.join(other), &mut all)?;
            all.extend(&names);
        }
        all.extend(&shipped);

        let mut build_script = Names::default();
        let path = package.join("build.rs");
        if path.is_file() {
            read_file(&path, &mut build_script, &mut all)?;
        }
        Ok(Self { shipped, build_script, all })
    }
}

/// Reads all Rust sources below a folder; what their documentation names goes to `documented`.
fn read_folder(folder: &Path, documented: &mut Names) -> Result<Names> {
    let mut names = Names::default();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| cannot_read(&folder))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                read_file(&path, &mut names, documented)?;
            }
        }
    }
    Ok(names)
}

fn read_file(path: &Path, names: &mut Names, documented: &mut Names) -> Result<()> {
    let source = fs::read_to_string(path).with_context(|| cannot_read(path))?;
    names.read(&source).with_context(|| cannot_read(path))?;

    let mut texts = vec![prose::doc_comments(&source)];
    for included in prose::included(&source) {
        let included = path.parent().map_or_else(|| PathBuf::from(included), |folder| folder.join(included));
        texts.push(fs::read_to_string(&included).with_context(|| cannot_read(&included))?);
    }
    for example in texts.iter().flat_map(|text| prose::examples(text)) {
        // An example may show code that is not Rust, and says so only by `compile_fail`.
        let _ = documented.read(&example);
    }
    Ok(())
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

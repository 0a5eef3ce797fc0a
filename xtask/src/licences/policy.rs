//! The part of deny.toml that is enforced here. What else can stand there is left to cargo-deny.

use anyhow::{Context as _, Result, anyhow};
use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

use crate::workspace::Package;

pub(super) struct Policy {
    licences: Vec<Licensee>,
    bans: Vec<Ban>,
    registries: Vec<String>,
}

impl Policy {
    /// Reads the text of deny.toml.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let file: File = toml::from_str(text).context("cannot read deny.toml")?;
        let licences = file.licenses.allow.iter().map(|licence| {
            Licensee::parse(licence).map_err(|error| anyhow!("deny.toml allows `{licence}`: {error}"))
        });
        Ok(Self {
            licences: licences.collect::<Result<_>>()?,
            bans: file.bans.deny,
            registries: file.sources.allow_registry,
        })
    }

    /// What is wrong with a package, in words.
    pub(super) fn complaints(&self, package: &Package) -> Vec<String> {
        [self.licence(package), self.ban(package), self.source(package)].into_iter().flatten().collect()
    }

    fn licence(&self, package: &Package) -> Option<String> {
        let Some(licence) = &package.license else { return Some("names no licence".to_owned()) };
        let expression = match Expression::parse_mode(licence, ParseMode::LAX) {
            Ok(expression) => expression,
            Err(error) => return Some(format!("cannot read the licence `{licence}`: {error}")),
        };
        let is_allowed =
            expression.evaluate(|required| self.licences.iter().any(|licensee| licensee.satisfies(required)));
        (!is_allowed).then(|| format!("the licence `{licence}` is not allowed"))
    }

    fn ban(&self, package: &Package) -> Option<String> {
        let ban = self.bans.iter().find(|ban| ban.name == package.name)?;
        Some(format!("banned: {}", ban.reason))
    }

    fn source(&self, package: &Package) -> Option<String> {
        // What has no source lies in a folder of this repository.
        let source = package.source.as_ref()?;
        let is_allowed = source
            .strip_prefix("registry+")
            .is_some_and(|registry| self.registries.iter().any(|allowed| allowed == registry));
        (!is_allowed).then(|| format!("it comes from {source}, which is not allowed"))
    }
}

#[derive(Deserialize)]
struct File {
    licenses: Licenses,
    bans: Bans,
    sources: Sources,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Sources {
    #[serde(rename = "allow-registry")]
    allow_registry: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

    fn policy() -> Policy {
        Policy::parse(
            r#"
            [graph]
            all-features = true
            [licenses]
            allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "Unicode-3.0"]
            [bans]
            deny = [{ crate = "openssl-sys", reason = "needs a C library" }]
            [sources]
            allow-registry = ["https://github.com/rust-lang/crates.io-index"]
            "#,
        )
        .unwrap()
    }

    fn package(name: &str, licence: Option<&str>, source: Option<&str>) -> Package {
        serde_json::from_value(serde_json::json!({
            "id": name, "name": name, "version": "1.0.0", "manifest_path": "/w/Cargo.toml",
            "source": source, "license": licence, "dependencies": [], "features": {}, "targets": [],
            "metadata": null,
        }))
        .unwrap()
    }

    #[test]
    fn allowed_licences() {
        for licence in [
            "MIT",
            "MIT OR GPL-3.0-only",
            "MIT/Apache-2.0",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR MIT",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            let complaints = policy().complaints(&package("a", Some(licence), Some(CRATES_IO)));
            assert!(complaints.is_empty(), "{complaints:?}");
        }
    }

    #[test]
    fn licences_that_are_not_allowed() {
        for licence in ["GPL-3.0-only", "MIT AND OpenSSL", "Apache-2.0 WITH GCC-exception-3.1", "made up"] {
            let complaints = policy().complaints(&package("a", Some(licence), Some(CRATES_IO)));
            assert_eq!(complaints.len(), 1, "{licence}");
        }
        let complaints = policy().complaints(&package("a", None, Some(CRATES_IO)));
        assert_eq!(complaints, ["names no licence"]);
    }

    #[test]
    fn banned_crates() {
        let complaints = policy().complaints(&package("openssl-sys", Some("MIT"), Some(CRATES_IO)));
        assert_eq!(complaints, ["banned: needs a C library"]);
    }

    #[test]
    fn sources_that_are_not_allowed() {
        for source in ["git+https://example.org/a#0123", "registry+https://example.org/index"] {
            let complaints = policy().complaints(&package("a", Some("MIT"), Some(source)));
            assert_eq!(complaints.len(), 1, "{source}");
        }
        assert!(policy().complaints(&package("ours", Some("MIT"), None)).is_empty());
    }

    #[test]
    fn a_licence_nobody_knows_cannot_be_allowed() {
        let text = r#"licenses.allow = ["MTI"]
                      bans.deny = []
                      sources.allow-registry = []"#;
        assert!(Policy::parse(text).is_err());
    }
}

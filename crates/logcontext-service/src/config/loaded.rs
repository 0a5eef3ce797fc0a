//! [`Config`]: values, and where they come from.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Origin;
use super::error::{ConfigErrors, Mistakes};
use super::message::redacted;
use super::node::Node;
use super::shape::Shape;
use super::show;
use super::text::is_within;

/// A configuration that [`Schema::load`](super::Schema::load) has found to be right.
///
/// Shows itself, by `Display` and `Debug` too, as [`show`](Self::show) does: without secrets.
#[derive(Clone)]
pub struct Config {
    root: Value,
    sections: Vec<Loaded>,
    file: Option<PathBuf>,
}

/// A section with what it was read from.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) key: String,
    pub(super) node: Node,
    pub(super) values: toml::Table,
}

impl Config {
    pub(super) fn new(root: Value, sections: Vec<Loaded>, file: Option<PathBuf>) -> Self {
        Self { root, sections, file }
    }

    /// The section with that key, as the type that it was declared with; `""` is the top level.
    ///
    /// # Errors
    ///
    /// If the schema has no such section, or `T` is another type than that of the section and refuses its values.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<T, ConfigErrors> {
        let mut mistakes = Mistakes::default();
        let Some(section) = self.sections.iter().find(|section| section.key == key) else {
            mistakes.add(&Origin::Default, Some(key), "is no section");
            return Err(never_empty(mistakes));
        };
        T::deserialize(&section.node).map_err(|error| {
            error.tell(&[], &self.secrets(), &mut mistakes);
            never_empty(mistakes)
        })
    }

    /// Where the value of the key comes from: `log.format`, `listeners[0].address`. [`Origin::Default`] too if there
    /// is no such key.
    ///
    /// ```
    /// # use logcontext_service::config::{Origin, Schema, Sources};
    /// # use schemars::JsonSchema;
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Default, Serialize, Deserialize, JsonSchema)]
    /// #[serde(default, deny_unknown_fields)]
    /// struct Log {
    ///     /// Whether to write one.
    ///     on: bool,
    /// }
    ///
    /// let schema = Schema::new("presence").section::<Log>("log");
    /// let config = schema.load(&Sources::default().flag("log-on", "true"))?;
    /// assert_eq!(config.origin("log.on"), &Origin::Flag("--log-on".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn origin(&self, key: &str) -> &Origin {
        self.node(key).map_or(&Origin::Default, |node| &node.origin)
    }

    /// The file that was read, if there was one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The mistake that the value of `key`, in full, turned out not to be right: `expected` goes on after "expected ".
    /// For what is found out later, such as a port that is taken.
    pub fn refuse(&self, key: &str, expected: &str) -> ConfigErrors {
        let mut mistakes = Mistakes::default();
        let expected = redacted(expected, &self.secrets());
        let sections = self.sections.iter();
        let section =
            sections.filter(|section| is_within(key, &section.key)).max_by_key(|section| section.key.len());
        match section {
            Some(section) => section.refuse_in_full(key, &expected, &mut mistakes),
            None => mistakes.add(&Origin::Default, Some(key), format!("expected {expected}")),
        }
        never_empty(mistakes)
    }

    /// All values, as TOML that is good as a file, each followed by where it comes from: `presence.toml:12`,
    /// `PRESENCE_LOG_FORMAT`, `--log-format`, `default`.
    ///
    /// Secrets are `***`, in lines that are commented out, so that nobody takes them for the secret; but names of
    /// files with secrets are shown. What has no value is commented out too.
    pub fn show(&self) -> String {
        show::show(Shape::of(&self.root), &self.sections)
    }

    fn node(&self, path: &str) -> Option<&Node> {
        let nearest = self.sections.iter().map(|section| section.node.nearest(path));
        nearest.filter(|node| node.path == path).max_by_key(|node| node.path.len())
    }

    fn secrets(&self) -> Vec<String> {
        let mut secrets = Vec::new();
        self.sections.iter().for_each(|section| section.node.secrets(&mut secrets));
        secrets.into_iter().map(str::to_owned).collect()
    }
}

impl Loaded {
    /// The value of a key within the section is not right.
    pub(super) fn refuse(&self, key: &str, expected: &str, mistakes: &mut Mistakes) {
        let path = match (&*self.key, key) {
            ("", _) => key.to_owned(),
            (_, "") => self.key.clone(),
            _ => format!("{}.{key}", self.key),
        };
        self.refuse_in_full(&path, expected, mistakes);
    }

    fn refuse_in_full(&self, path: &str, expected: &str, mistakes: &mut Mistakes) {
        let node = self.node.nearest(path);
        let found = if node.path == path { node.found() } else { None };
        let found = found.map_or_else(String::new, |found| format!(", found {found}"));
        mistakes.add(
            &node.origin,
            Some(path).filter(|path| !path.is_empty()),
            format!("expected {expected}{found}"),
        );
    }
}

fn never_empty(mistakes: Mistakes) -> ConfigErrors {
    match mistakes.into_result() {
        Err(errors) => errors,
        Ok(()) => super::ConfigError::new(Origin::Default, None, "cannot be read").into(),
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Config {{\n{self}}}")
    }
}

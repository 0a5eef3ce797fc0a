//! What is wrong with a schema itself, for a unit test of the server.

use std::collections::BTreeMap;
use std::fmt;

use super::keys::{self, RESERVED};
use super::node::Node;
use super::schema::Schema;
use super::shape::walk;

/// What is wrong with a [`Schema`]: mistakes of the program, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaFaults(Vec<String>);

impl fmt::Display for SchemaFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SchemaFaults {}

impl Schema {
    /// Whether the schema makes sense; for a unit test of every server. Nothing panics if it does not: of two keys
    /// with one flag or variable, the first by name has it.
    ///
    /// # Errors
    ///
    /// If two keys come to one flag or variable, or to one that is taken (`--config`, `--set`, `--help`, `--version`);
    /// if a table lets unknown keys pass; if a key has no doc comment; if a short form is of no key; if sections
    /// overlap; if what an empty table reads as is not the default.
    pub fn check(&self) -> Result<(), SchemaFaults> {
        let mut faults = Vec::new();
        self.check_sections(&mut faults);
        self.check_tables(&mut faults);
        self.check_names(&mut faults);
        if faults.is_empty() { Ok(()) } else { Err(SchemaFaults(faults)) }
    }

    fn check_sections(&self, faults: &mut Vec<String>) {
        let mut seen: Vec<&str> = Vec::new();
        for section in self.sections() {
            let key = &*section.key;
            if seen.contains(&key) {
                faults.push(format!("two sections with the key {key:?}"));
            }
            seen.push(key);
            if *super::text::key(key) != *key && !key.is_empty() {
                faults.push(format!("section {key:?}: its key is not letters, digits, - and _"));
            }
            let default = match (section.default)() {
                Ok(default) => default,
                Err(why) => {
                    faults.push(format!("section {key:?}: its default is not TOML: {why}"));
                    continue;
                }
            };
            if key.is_empty()
                && let Some(own) =
                    default.keys().find(|own| self.sections().iter().any(|other| other.key == **own))
            {
                faults.push(format!("section {own:?} is a key of the top level too"));
            }
            match (section.read)(&Node::empty(key)).map(|read| read.values) {
                Ok(Ok(read)) if read == default => {}
                _ => faults
                    .push(format!("section {key:?}: an empty table is not its default: `serde(default)`?")),
            }
        }
    }

    fn check_tables(&self, faults: &mut Vec<String>) {
        let (mut leaves, mut tables) = (Vec::new(), Vec::new());
        walk(self.shape(), &mut leaves, &mut tables);
        for table in tables {
            let key = table.keys.join(".");
            if !table.shape.is_closed() {
                faults.push(format!("table {key:?} lets unknown keys pass: `serde(deny_unknown_fields)`"));
            }
        }
        for leaf in leaves {
            let key = leaf.keys.join(".");
            if leaf.shape.text("description").is_none() {
                faults.push(format!("key {key:?} has no doc comment"));
            }
            if self.sections().iter().any(|section| section.key == key) {
                faults.push(format!("section {key:?} is no table"));
            }
        }
    }

    fn check_names(&self, faults: &mut Vec<String>) {
        let keys = self.keys();
        for (name, of) in self.aliases() {
            if !keys.iter().any(|key| !key.is_alias && key.path == *of) {
                faults.push(format!("{name:?} is short for {of:?}, which is no key"));
            }
        }
        let mut names: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in RESERVED {
            names.entry(format!("--{name}")).or_default().push("every server");
        }
        names.entry(keys::variable(self.prefix(), "config")).or_default().push("every server");
        for key in &keys {
            names.entry(format!("--{}", key.flag)).or_default().push(&key.path);
            names.entry(key.variable.clone()).or_default().push(&key.path);
        }
        for (name, of) in names.into_iter().filter(|(_, of)| of.len() > 1) {
            faults.push(format!("{name} is of {}", of.join(" and of ")));
        }
    }
}

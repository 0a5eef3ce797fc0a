//! Environment and command line, put over what the file has.

use std::collections::HashMap;
use std::ffi::OsStr;

use super::error::Mistakes;
use super::keys::Key;
use super::message::unknown;
use super::node::{Node, Value};
use super::schema::Schema;
use super::text::{join, nearest};
use super::{Origin, Sources, text_values};

/// The tree while one source after the other is put on it.
pub(super) struct Layers<'a> {
    schema: &'a Schema,
    keys: &'a [Key<'a>],
    known: &'a [String],
    tree: &'a mut Node,
    mistakes: &'a mut Mistakes,
    /// What the present source has given so far.
    given: HashMap<String, Origin>,
    /// What a later source has taken the place of.
    pub(super) replaced: Vec<Node>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(
        schema: &'a Schema,
        keys: &'a [Key<'a>],
        known: &'a [String],
        tree: &'a mut Node,
        mistakes: &'a mut Mistakes,
    ) -> Self {
        Self { schema, keys, known, tree, mistakes, given: HashMap::new(), replaced: Vec::new() }
    }

    pub(super) fn environment(&mut self, sources: &Sources) {
        self.given.clear();
        let of_cluster = sources.env.iter().any(|(name, _)| name == "KUBERNETES_SERVICE_HOST");
        let mut seen: Vec<&OsStr> = Vec::new();
        for (name, value) in &sources.env {
            let text = name.to_string_lossy();
            if !text.starts_with(self.schema.prefix()) || seen.contains(&&**name) {
                continue;
            }
            seen.push(name);
            let origin = Origin::Variable(text.as_ref().into());
            if let Some(key) = self.keys.iter().find(|key| key.variable == text) {
                self.give(key, &origin, &[value]);
            } else if text != self.schema.config_variable()
                && !self.schema.ignores(&text)
                && !(of_cluster && is_service_link(&text))
            {
                self.refuse_variable(&origin, &text);
            }
        }
    }

    fn refuse_variable(&mut self, origin: &Origin, name: &str) {
        // What all of them begin with does not make two of them alike.
        let prefix = self.schema.prefix();
        let config = self.schema.config_variable();
        let known = self.keys.iter().map(|key| &*key.variable).chain([&*config]);
        let meant = nearest(&name[prefix.len()..], known.filter_map(|name| name.strip_prefix(prefix)));
        let meant = meant.map_or_else(String::new, |name| format!(", did you mean {prefix}{name}?"));
        self.mistakes.add(origin, None, format!("unknown variable{meant}"));
    }

    pub(super) fn flags(&mut self, sources: &Sources) {
        self.given.clear();
        let mut flags: Vec<(&str, Vec<&OsStr>)> = Vec::new();
        for (name, value) in &sources.flags {
            match flags.iter_mut().find(|(known, _)| known == name && *known != "set") {
                Some((_, values)) => values.push(value),
                None => flags.push((name, vec![value])),
            }
        }
        for (name, values) in flags {
            let origin = Origin::Flag(format!("--{name}").into());
            if name == "set" {
                values.into_iter().for_each(|value| self.set(&origin, value));
            } else if let Some(key) = self.keys.iter().find(|key| key.flag == name) {
                self.give(key, &origin, &values);
            } else {
                self.mistakes.add(&origin, None, "unknown flag");
            }
        }
    }

    /// `--set KEY=VALUE`.
    fn set(&mut self, origin: &Origin, text: &OsStr) {
        // The value may be a secret: none of it is told.
        let Some((path, value)) = text.to_str().and_then(|text| text.split_once('=')) else {
            self.mistakes.add(origin, None, "expected KEY=VALUE, as text in UTF-8");
            return;
        };
        let path = path.trim();
        let (keys, known) = (self.keys, self.known);
        if let Some(key) = keys.iter().find(|key| !key.is_alias && key.path == path) {
            return self.give(key, origin, &[OsStr::new(value)]);
        }
        let map = keys.iter().find_map(|key| {
            let name = path.strip_prefix(&*key.path)?.strip_prefix('.')?;
            (!key.is_alias && key.shape.is_map()).then_some((key, name))
        });
        let Some((key, name)) = map else {
            let why = if known.iter().any(|table| table == path) {
                "expected a key of this table".to_owned()
            } else {
                unknown(path, &[], known)
            };
            return self.mistakes.add(origin, Some(path), why);
        };
        let path = join(&key.path, name);
        if !self.is_first(&path, origin) {
            return;
        }
        let Some(shape) = key.shape.property(name) else { return };
        let node = text_values::read(shape, &path, origin, &[value.to_owned()]);
        let mut keys = key.keys.clone();
        keys.push(name.to_owned());
        self.put(&keys, node);
    }

    fn give(&mut self, key: &Key<'_>, origin: &Origin, values: &[&OsStr]) {
        if !self.is_first(&key.path, origin) {
            return;
        }
        let texts: Option<Vec<String>> =
            values.iter().map(|value| value.to_str().map(str::to_owned)).collect();
        let Some(texts) = texts else {
            return self.mistakes.add(origin, Some(&key.path), "expected text in UTF-8");
        };
        if texts.len() > 1 && !key.shape.is_only("array") {
            return self.mistakes.add(origin, Some(&key.path), "expected one value, found more");
        }
        self.put(&key.keys, text_values::read(key.shape, &key.path, origin, &texts));
        self.take_other(key, origin);
    }

    /// What one source gives twice may be meant either way.
    fn is_first(&mut self, path: &str, origin: &Origin) -> bool {
        match self.given.insert(path.to_owned(), origin.clone()) {
            None => true,
            Some(other) => {
                self.mistakes.add(origin, Some(path), format!("is given by {other} too"));
                false
            }
        }
    }

    /// A secret wins over a file with it from an earlier source, and the other way round.
    fn take_other(&mut self, key: &Key<'_>, origin: &Origin) {
        let other = match &key.file_of {
            Some(of) => of.clone(),
            None => format!("{}_file", key.path),
        };
        let is_pair = |one: &Key<'_>| one.path == other && one.file_of.is_some() != key.file_of.is_some();
        if self.keys.iter().any(is_pair) {
            let node = self.tree.nearest(&other);
            if node.path == other && !node.origin.is_with(origin) {
                self.tree.remove(&other);
            }
        }
    }

    /// Puts the node where the keys lead, and makes the tables on the way.
    fn put(&mut self, keys: &[String], node: Node) {
        let Some((last, tables)) = keys.split_last() else { return };
        let mut at = &mut *self.tree;
        for key in tables {
            let path = join(&at.path, key);
            let Some(table) = at.table_mut() else { return };
            at = table
                .entry(key.clone())
                .or_insert_with(|| Node { origin: node.origin.clone(), ..Node::empty(&path) });
            if at.table().is_none() {
                // Told already, or a map given as something else: what comes later wins.
                *at = Node { origin: node.origin.clone(), ..Node::empty(&path) };
            }
        }
        if let Value::Table(table) = &mut at.value {
            self.replaced.extend(table.insert(last.clone(), node));
        }
    }
}

/// Variables that Kubernetes makes for a service whose name begins like that of the server: `PRESENCE_SERVICE_HOST`,
/// `PRESENCE_PORT_8008_TCP_ADDR`.
fn is_service_link(name: &str) -> bool {
    let is_port = |rest: &str| rest.is_empty() || rest.starts_with('_');
    name.ends_with("_SERVICE_HOST")
        || name.rsplit_once("_SERVICE_PORT").is_some_and(|(_, rest)| is_port(rest))
        || name.ends_with("_PORT")
        || name.split("_PORT_").skip(1).any(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
}

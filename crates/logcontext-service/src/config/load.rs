//! From sources to a [`Config`], with all mistakes told at once.

use std::path::{Path, PathBuf};

use super::error::{ConfigErrors, Mistakes};
use super::keys::Key;
use super::layers::Layers;
use super::loaded::{Config, Loaded};
use super::message::{self, redacted};
use super::node::Node;
use super::schema::Schema;
use super::section::{Read, Section};
use super::shape::walk;
use super::text::{is_within, join};
use super::{Origin, Sources, file, secret_files, unknown};

impl Schema {
    /// Reads the file, puts the environment over it and the command line over both, and reads all sections.
    ///
    /// Text from a variable or a flag is what its key asks for: a number, a list with commas (or as TOML writes one,
    /// `["a", "b"]`). Empty text is no value, where there may be none. A flag that is given more than once makes one
    /// list. A list from a later source takes the place of the earlier one as a whole; tables are put together.
    ///
    /// # Errors
    ///
    /// All mistakes that were found, and each with its place, even where a later source wins: a file that cannot be read, is larger than 1 MiB, is
    /// not UTF-8 or not TOML; keys, variables and flags that there are not; values that their types refuse; a secret
    /// that is given by itself and by its file in one source; and what [`Check`](super::Check)s have found, of
    /// sections that have no other mistake.
    pub fn load(&self, sources: &Sources) -> Result<Config, ConfigErrors> {
        let mut mistakes = Mistakes::default();
        let path = self.file_of(sources, &mut mistakes);
        let from_file = path.as_deref().map(|path| file::read(path, &mut mistakes));
        // Of a file that could not be read, nothing can be checked against the rest.
        let is_whole = !matches!(from_file, Some(None));
        let mut tree = from_file.flatten().unwrap_or_else(|| Node::empty(""));

        let keys = self.keys();
        let known = self.known(&keys);
        self.refuse_what_is_no_table(&mut tree, &mut mistakes);
        let mut layers = Layers::new(self, &keys, &known, &mut tree, &mut mistakes);
        layers.environment(sources);
        layers.flags(sources);
        let replaced = layers.replaced;
        secret_files::read(self.shape(), &mut tree, &mut mistakes);
        unknown::refuse(self.shape(), &mut tree, &known, &mut mistakes);
        self.shape().mark(&mut tree);
        let mut secrets = Vec::new();
        tree.secrets(&mut secrets);
        let secrets: Vec<String> = secrets.into_iter().map(str::to_owned).collect();

        let reader = Reader { known: &known, secrets: &secrets, checks: is_whole };
        for node in replaced {
            self.read_replaced(&tree, node, &reader, &mut mistakes);
        }
        let sections = self.split(tree, &known, &mut mistakes);
        let loaded: Vec<_> = sections
            .into_iter()
            .filter_map(|(section, node)| reader.read(section, node, &mut mistakes))
            .collect();
        mistakes.into_result()?;
        Ok(Config::new(self.root().clone(), loaded, path))
    }

    /// Tells what is wrong with a value that a later source has taken the place of: who takes that away would meet it.
    fn read_replaced(&self, tree: &Node, replaced: Node, reader: &Reader<'_>, mistakes: &mut Mistakes) {
        let path = replaced.path.clone();
        let mut tree = tree.clone();
        let Some(node) = tree.find_mut(&path) else { return };
        *node = replaced;
        self.shape().mark(&mut tree);
        for (section, node) in self.split(tree, &[], &mut Mistakes::default()) {
            if is_within(&path, &section.key) {
                reader.read_within(section, &node, &path, mistakes);
            }
        }
    }

    fn file_of(&self, sources: &Sources, mistakes: &mut Mistakes) -> Option<PathBuf> {
        if let Some(path) = &sources.file {
            return Some(path.clone());
        }
        let variable = self.config_variable();
        let (_, value) = sources.env.iter().find(|(name, _)| *name == *variable)?;
        if value.is_empty() {
            mistakes.add(&Origin::Variable(variable.into()), None, "expected the name of a file, found \"\"");
            return None;
        }
        Some(Path::new(value).to_owned())
    }

    /// All keys and tables by name, for hints.
    fn known(&self, keys: &[Key<'_>]) -> Vec<String> {
        let mut tables = Vec::new();
        walk(self.shape(), &mut Vec::new(), &mut tables);
        let tables = tables.iter().map(|table| table.keys.join(".")).filter(|table| !table.is_empty());
        keys.iter().filter(|key| !key.is_alias).map(|key| key.path.clone()).chain(tables).collect()
    }

    /// So that the keys of a table can be put there.
    fn refuse_what_is_no_table(&self, tree: &mut Node, mistakes: &mut Mistakes) {
        let mut tables = Vec::new();
        walk(self.shape(), &mut Vec::new(), &mut tables);
        for table in tables {
            let path = table.keys.iter().fold(String::new(), |path, key| join(&path, key));
            let node = tree.nearest(&path);
            if node.path == path && node.table().is_none() {
                // What it is instead may be the secret that should be in there.
                mistakes.add(&node.origin, Some(&path), "expected a table");
                tree.remove(&path);
            }
        }
    }

    /// What each section reads.
    fn split<'a>(
        &'a self,
        mut tree: Node,
        known: &[String],
        mistakes: &mut Mistakes,
    ) -> Vec<(&'a Section, Node)> {
        let mut nodes = Vec::new();
        for section in self.sections().iter().filter(|section| !section.key.is_empty()) {
            let node = tree.table_mut().and_then(|table| table.remove(&section.key));
            nodes.push((section, node.unwrap_or_else(|| Node::empty(&section.key))));
        }
        match self.sections().iter().find(|section| section.key.is_empty()) {
            Some(section) => nodes.insert(0, (section, tree)),
            None => {
                for node in tree.children() {
                    mistakes.add(&node.origin, Some(&node.path), message::unknown(&node.path, &[], known));
                }
            }
        }
        nodes
    }
}

struct Reader<'a> {
    known: &'a [String],
    secrets: &'a [String],
    checks: bool,
}

impl Reader<'_> {
    fn read(&self, section: &Section, node: Node, mistakes: &mut Mistakes) -> Option<Loaded> {
        let read = self.read_within(section, &node, "", mistakes)?;
        self.accept(section, node, read, mistakes)
    }

    /// Reads the section. What is wrong is taken out, and the rest is read again: so all that is wrong is found. What
    /// is within that path is told.
    fn read_within(
        &self,
        section: &Section,
        node: &Node,
        path: &str,
        mistakes: &mut Mistakes,
    ) -> Option<Read> {
        let mut rest = node.clone();
        let mut removed: Vec<String> = Vec::new();
        loop {
            match (section.read)(&rest) {
                Ok(read) => return removed.is_empty().then_some(read),
                Err(error) => {
                    let at = error.path().to_owned();
                    // What is wrong with a table for want of what was taken out of it, nobody needs to know.
                    let follows = match error.missing() {
                        Some(missing) => removed.contains(&missing),
                        None => removed.iter().any(|removed| is_within(removed, &at)),
                    };
                    if !follows && is_within(&at, path) {
                        error.tell(self.known, self.secrets, mistakes);
                    }
                    if mistakes.is_full() || !rest.remove(&at) {
                        return None;
                    }
                    removed.push(at);
                }
            }
        }
    }

    fn accept(&self, section: &Section, node: Node, read: Read, mistakes: &mut Mistakes) -> Option<Loaded> {
        let key = section.key.clone();
        let values = match read.values {
            Ok(values) => values,
            Err(why) => {
                let why = format!("expected what TOML can write: {}", redacted(&why, self.secrets));
                mistakes.add(&node.origin, Some(&*key).filter(|key| !key.is_empty()), why);
                return None;
            }
        };
        let loaded = Loaded { key, node, values };
        if self.checks {
            for (key, expected) in read.faults.0 {
                loaded.refuse(&key, &redacted(&expected, self.secrets), mistakes);
            }
        }
        Some(loaded)
    }
}

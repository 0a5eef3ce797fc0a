//! [`Node`]: a value that knows where it comes from.

use std::collections::BTreeMap;

use super::Origin;
use super::database_url::{password, without_passwords};
use super::text::{is_within, quoted, short};

/// A value, with all below it.
///
/// Has no `Debug`, for there may be secrets in it.
#[derive(Clone)]
pub(super) struct Node {
    /// The key, in full. No two nodes of a tree have the same, whatever was taken out of it.
    pub(super) path: String,
    pub(super) origin: Origin,
    pub(super) hide: Hide,
    /// The file that it was read from, of a secret.
    pub(super) file: Option<String>,
    pub(super) value: Value,
}

/// How much of a value is not for everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hide {
    #[default]
    Nothing,
    /// It may be a URL with a password in it.
    Password,
    Everything,
}

#[derive(Clone)]
pub(super) enum Value {
    /// From the environment or the command line: its type is what the reader asks for.
    Text(String),
    String(String),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    pub(super) fn new(path: String, origin: Origin, value: Value) -> Self {
        Self { path, origin, hide: Hide::Nothing, file: None, value }
    }

    /// A table with nothing in it, where nobody gave one.
    pub(super) fn empty(path: &str) -> Self {
        Self::new(path.to_owned(), Origin::Default, Value::Table(BTreeMap::new()))
    }

    pub(super) fn table(&self) -> Option<&BTreeMap<String, Node>> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn table_mut(&mut self) -> Option<&mut BTreeMap<String, Node>> {
        match &mut self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    pub(super) fn children(&self) -> Box<dyn Iterator<Item = &Node> + '_> {
        match &self.value {
            Value::List(list) => Box::new(list.iter()),
            Value::Table(table) => Box::new(table.values()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// The node with that path, or else the last on the way to it.
    pub(super) fn nearest(&self, path: &str) -> &Node {
        self.children().find(|child| child.is_at_or_above(path)).map_or(self, |child| child.nearest(path))
    }

    /// Takes out what has that path, or else the last on the way to it. False if that is this node.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        match &mut self.value {
            Value::List(list) => {
                let Some(at) = list.iter().position(|child| child.is_at_or_above(path)) else { return false };
                if list[at].path == path || !list[at].remove(path) {
                    list.remove(at);
                }
                true
            }
            Value::Table(table) => {
                let Some((key, child)) = table.iter_mut().find(|(_, child)| child.is_at_or_above(path))
                else {
                    return false;
                };
                if child.path == path || !child.remove(path) {
                    let key = key.clone();
                    table.remove(&key);
                }
                true
            }
            _ => false,
        }
    }

    /// The node with that path.
    pub(super) fn find_mut(&mut self, path: &str) -> Option<&mut Node> {
        if self.path == path {
            return Some(self);
        }
        let children: Box<dyn Iterator<Item = &mut Node>> = match &mut self.value {
            Value::List(list) => Box::new(list.iter_mut()),
            Value::Table(table) => Box::new(table.values_mut()),
            _ => return None,
        };
        children.into_iter().find(|child| child.is_at_or_above(path))?.find_mut(path)
    }

    fn is_at_or_above(&self, path: &str) -> bool {
        is_within(path, &self.path)
    }

    /// What a message says was found; nothing of a secret.
    pub(super) fn found(&self) -> Option<String> {
        if self.hide == Hide::Everything {
            return None;
        }
        Some(match &self.value {
            Value::Text(text) | Value::String(text) => quoted(&short(&without_passwords(text))),
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            Value::Boolean(is) => is.to_string(),
            Value::Datetime(text) => text.clone(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        })
    }

    /// What must not be shown of it and of all below it.
    pub(super) fn secrets<'a>(&'a self, out: &mut Vec<&'a str>) {
        if let Value::Text(text) | Value::String(text) = &self.value {
            match self.hide {
                Hide::Everything => out.push(text),
                Hide::Password => out.extend(password(text)),
                Hide::Nothing => {}
            }
        }
        self.children().for_each(|child| child.secrets(out));
    }
}

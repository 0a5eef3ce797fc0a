//! Secrets that are given by the name of a file.

use std::path::Path;

use super::error::Mistakes;
use super::file;
use super::node::{Hide, Node, Value};
use super::shape::Shape;

/// As long as a secret may be, in bytes.
const LARGEST: u64 = 64 << 10;

/// Puts what the files have in the place of their names, everywhere below.
pub(super) fn read(shape: Shape<'_>, node: &mut Node, mistakes: &mut Mistakes) {
    match &mut node.value {
        Value::List(list) => {
            let of_item = shape.items();
            for item in list {
                read(of_item.unwrap_or(shape), item, mistakes);
            }
        }
        Value::Table(_) => {
            let names: Vec<String> =
                node.table().into_iter().flat_map(|table| table.keys().cloned()).collect();
            for name in names {
                let secret = name.strip_suffix("_file").filter(|_| shape.property_named(&name).is_none());
                let of_secret = secret.and_then(|secret| shape.property_named(secret));
                let Some(table) = node.table_mut() else { return };
                match (secret, of_secret) {
                    (Some(secret), Some(of_secret)) if of_secret.hide() != Hide::Nothing => {
                        let Some(given) = table.remove(&name) else { continue };
                        if let Some(other) = table.get(secret) {
                            let why = format!("expected only one of the two, found {} too", other.path);
                            mistakes.add(&given.origin, Some(&given.path), why);
                        } else if let Some(read) = read_one(&given, mistakes) {
                            table.insert(secret.to_owned(), read);
                        }
                    }
                    _ => {
                        if let (Some(of), Some(below)) = (shape.property(&name), table.get_mut(&name)) {
                            read(of, below, mistakes);
                        }
                    }
                }
            }
        }
        _ => {}
    }
}

fn read_one(given: &Node, mistakes: &mut Mistakes) -> Option<Node> {
    let mut refuse = |why: String| {
        mistakes.add(&given.origin, Some(&given.path), why);
        None
    };
    let (Value::Text(name) | Value::String(name)) = &given.value else {
        let found = given.found().unwrap_or_default();
        return refuse(format!("expected the name of a file, found {found}"));
    };
    if name.is_empty() {
        // As an empty variable takes a value back that may be none.
        return if matches!(given.value, Value::Text(_)) {
            None
        } else {
            refuse("expected the name of a file, found \"\"".to_owned())
        };
    }
    let text = match file::text(Path::new(name), LARGEST) {
        Ok(text) => text,
        Err(why) => return refuse(format!("{}: {why}", super::text::quoted(name))),
    };
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let secret = line.strip_suffix('\r').unwrap_or(line);
    if secret.is_empty() {
        return refuse(format!("{}: expected a secret, found nothing", super::text::quoted(name)));
    }
    let path = given.path.strip_suffix("_file").unwrap_or(&given.path).to_owned();
    let value = Value::String(secret.to_owned());
    Some(Node { file: Some(name.clone()), ..Node::new(path, given.origin.clone(), value) })
}

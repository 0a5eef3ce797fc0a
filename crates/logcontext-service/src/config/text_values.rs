//! Text from the environment and the command line, as the values that a key takes.

use toml::de::DeValue;

use super::Origin;
use super::file;
use super::node::{Node, Value};
use super::shape::Shape;

/// What the texts are, for a key of that shape: several are the items of one list.
pub(super) fn read(shape: Shape<'_>, path: &str, origin: &Origin, texts: &[String]) -> Node {
    let node = |value| Node::new(path.to_owned(), origin.clone(), value);
    if let Some(of_item) = shape.items().filter(|_| is_list(shape)) {
        let mut list = Vec::new();
        for text in texts {
            match structured(text, path, origin) {
                Some(Value::List(items)) => list.extend(items),
                Some(Value::Table(item)) => list.push(node(Value::Table(item))),
                _ => list.extend(split(text).map(|text| node(typed(of_item, text)))),
            }
        }
        let mut node = node(Value::List(list));
        name_items(&mut node);
        return node;
    }
    let [text] = texts else { return node(Value::Text(texts.join(","))) };
    match structured(text, path, origin).filter(|value| matches!(value, Value::Table(_))) {
        Some(table) if shape.takes_table() => node(table),
        _ => node(typed(shape, text)),
    }
}

/// The items of a text where a list is asked for.
pub(super) fn items(text: &str, of: &Node) -> Vec<Node> {
    let mut list = Node::new(of.path.clone(), of.origin.clone(), Value::List(Vec::new()));
    list.value = Value::List(
        split(text)
            .map(|text| {
                let value = Value::Text(text.to_owned());
                Node { hide: of.hide, ..Node::new(of.path.clone(), of.origin.clone(), value) }
            })
            .collect(),
    );
    name_items(&mut list);
    match list.value {
        Value::List(list) => list,
        _ => Vec::new(),
    }
}

fn is_list(shape: Shape<'_>) -> bool {
    shape.is_only("array")
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    text.split(',').map(str::trim).filter(move |_| !text.is_empty())
}

/// A number or a truth where the shape takes nothing else. The rest stays text, whose type is found out when it is
/// read.
fn typed(shape: Shape<'_>, text: &str) -> Value {
    let parsed = if shape.is_only("integer") {
        text.trim().parse().ok().map(Value::Integer)
    } else if shape.is_only("number") {
        text.trim().parse().ok().map(Value::Float)
    } else if shape.is_only("boolean") {
        text.trim().parse().ok().map(Value::Boolean)
    } else {
        None
    };
    parsed.unwrap_or_else(|| Value::Text(text.to_owned()))
}

/// A list or a table as TOML writes it on one line. An address such as `[::1]:8008` is none.
fn structured(text: &str, path: &str, origin: &Origin) -> Option<Value> {
    if !text.trim_start().starts_with(['[', '{']) {
        return None;
    }
    let value = DeValue::parse(text.trim()).ok()?;
    Some(file::value(value.get_ref(), path, &|_| origin.clone()))
}

/// Gives the items of a list, and all below, the paths of their places in it.
fn name_items(list: &mut Node) {
    let Value::List(items) = &mut list.value else { return };
    for (index, item) in items.iter_mut().enumerate() {
        rename(item, format!("{}[{index}]", list.path));
    }
}

fn rename(node: &mut Node, path: String) {
    match &mut node.value {
        Value::List(_) => {
            node.path = path;
            name_items(node);
            return;
        }
        Value::Table(table) => {
            for (key, child) in table {
                rename(child, super::text::join(&path, key));
            }
        }
        _ => {}
    }
    node.path = path;
}

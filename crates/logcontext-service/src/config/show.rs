//! A configuration as TOML, each value with its origin.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::Origin;
use super::database_url::without_passwords;
use super::loaded::Loaded;
use super::node::{self, Hide, Node};
use super::secret::HIDDEN;
use super::shape::Shape;
use super::text::{join, key, quoted};

pub(super) fn show(root: Shape<'_>, sections: &[Loaded]) -> String {
    let mut out = String::new();
    // Keys of the top level come before all tables.
    for section in sections.iter().filter(|section| section.key.is_empty()) {
        let others = |key: &str| sections.iter().any(|other| other.key == key);
        table(&mut out, "", root, &section.values, Some(&section.node), &others);
    }
    for section in sections.iter().filter(|section| !section.key.is_empty()) {
        header(&mut out, &format!("[{}]", key(&section.key)), "");
        if let Some(shape) = root.property_named(&section.key) {
            table(&mut out, &section.key, shape, &section.values, Some(&section.node), &|_| false);
        }
    }
    out
}

fn header(out: &mut String, header: &str, origin: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(header);
    out.push_str(origin);
    out.push('\n');
}

fn table(
    out: &mut String,
    path: &str,
    shape: Shape<'_>,
    values: &Table,
    node: Option<&Node>,
    is_other: &dyn Fn(&str) -> bool,
) {
    let keys: BTreeSet<&str> = shape.names().into_iter().chain(values.keys().map(String::as_str)).collect();
    let keys: Vec<_> = keys.into_iter().filter(|key| !is_other(key)).collect();
    for name in &keys {
        let of = shape.property_named(name).or_else(|| shape.property(name)).unwrap_or(shape);
        match values.get(*name) {
            Some(value) if is_table(value, of) || is_tables(value) => {}
            Some(value) => leaf(out, name, of, value, node),
            None => comment(out, name, node),
        }
    }
    for name in &keys {
        let of = shape.property(name).unwrap_or(shape);
        let below = node.and_then(|node| child(node, name)).or(node.filter(|node| node.table().is_none()));
        let path = join(path, name);
        match values.get(*name) {
            Some(value @ Value::Table(values)) if is_table(value, of) => {
                header(out, &format!("[{path}]"), "");
                table(out, &path, of, values, below, &|_| false);
            }
            Some(Value::Array(items)) if values.get(*name).is_some_and(is_tables) => {
                for (index, item) in items.iter().enumerate() {
                    let of_item = of.items().unwrap_or(of);
                    let node = below.map(|list| list.children().nth(index).unwrap_or(list));
                    header(out, &format!("[[{path}]]"), &origin(node));
                    if let Value::Table(values) = item {
                        table(out, &path, of_item, values, node, &|_| false);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Also one of keys that are not set.
fn is_table(value: &Value, shape: Shape<'_>) -> bool {
    value.as_table().is_some_and(|table| !table.is_empty() || !shape.names().is_empty())
}

fn is_tables(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty() && items.iter().all(Value::is_table))
}

fn child<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.table()?.get(name)
}

/// Where the key of that table comes from: of a table that was one text, all from there.
fn node_of<'a>(table: Option<&'a Node>, name: &str) -> Option<&'a Node> {
    let table = table?;
    if matches!(table.value, node::Value::Table(_)) { child(table, name) } else { Some(table) }
}

fn origin(node: Option<&Node>) -> String {
    format!("  # {}", node.map_or(&Origin::Default, |node| &node.origin))
}

fn leaf(out: &mut String, name: &str, shape: Shape<'_>, value: &Value, table: Option<&Node>) {
    let node = node_of(table, name);
    let origin = origin(node);
    let name = key(name);
    if let Some(file) = node.and_then(|node| node.file.as_deref()) {
        out.push_str(&format!("{}_file = {}{origin}\n", name, quoted(file)));
        return;
    }
    let (text, is_masked) = in_line(value, shape);
    let comment = if is_masked { "# " } else { "" };
    out.push_str(&format!("{comment}{name} = {text}{origin}\n"));
}

fn comment(out: &mut String, name: &str, table: Option<&Node>) {
    let node = table.and_then(|table| child(table, name));
    out.push_str(&format!("# {} is not set{}\n", key(name), origin(node)));
}

/// The value on one line; and whether some of it is hidden.
pub(super) fn in_line(value: &Value, shape: Shape<'_>) -> (String, bool) {
    match value {
        Value::String(text) => match shape.hide_below(0) {
            Hide::Nothing => (quoted(text), false),
            Hide::Password => {
                let text = without_passwords(text);
                (quoted(&text), text.contains(HIDDEN))
            }
            Hide::Everything => (quoted(HIDDEN), true),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| in_line(item, shape.items().unwrap_or(shape)));
            let (items, masked): (Vec<_>, Vec<_>) = items.unzip();
            (format!("[{}]", items.join(", ")), masked.contains(&true))
        }
        Value::Table(table) => {
            let items = table.iter().map(|(name, value)| {
                let (text, is_masked) = in_line(value, shape.property(name).unwrap_or(shape));
                (format!("{} = {text}", key(name)), is_masked)
            });
            let (items, masked): (Vec<_>, Vec<_>) = items.unzip();
            (format!("{{{}}}", items.join(", ")), masked.contains(&true))
        }
        _ => (value.to_string(), false),
    }
}

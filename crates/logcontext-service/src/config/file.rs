//! The file: TOML, each value with its line.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Origin;
use super::error::Mistakes;
use super::node::{Node, Value};
use super::text::join;

/// As large as a configuration may be, in bytes.
const LARGEST: u64 = 1 << 20;
/// So many places where a file is not TOML are told: the rest may follow from the first.
const BROKEN: usize = 10;

/// What is in the file. `None`, with the mistakes told, if it cannot be read or is not TOML.
pub(super) fn read(path: &Path, mistakes: &mut Mistakes) -> Option<Node> {
    let path: Arc<Path> = path.into();
    let whole = Origin::File { path: path.clone(), line: None };
    let text = match text(&path, LARGEST) {
        Ok(text) => text,
        Err(why) => {
            mistakes.add(&whole, None, why);
            return None;
        }
    };
    let lines = Lines::of(&text);
    let origin = |span: Range<usize>| Origin::File { path: path.clone(), line: Some(lines.at(span.start)) };
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in errors.iter().take(BROKEN) {
        let at = error.span().map_or_else(|| whole.clone(), &origin);
        mistakes.add(&at, None, format!("not TOML: {}", error.message()));
    }
    if !errors.is_empty() {
        return None;
    }
    Some(Node::new(String::new(), whole, table_value(table.get_ref(), "", &origin)))
}

/// The text of a file that is not larger than that. The error is for people.
pub(super) fn text(path: &Path, largest: u64) -> Result<String, String> {
    let why = |error: &io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        ErrorKind::IsADirectory => "expected a file, found a folder".to_owned(),
        ErrorKind::PermissionDenied => "may not be read (permission denied)".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let file = File::open(path).map_err(|error| why(&error))?;
    if file.metadata().is_ok_and(|file| file.is_dir()) {
        return Err("expected a file, found a folder".to_owned());
    }
    let mut bytes = Vec::new();
    // Its length is not asked for: that of a pipe is not known.
    file.take(largest + 1).read_to_end(&mut bytes).map_err(|error| why(&error))?;
    if bytes.len() as u64 > largest {
        return Err(format!(
            "expected no more than {}, found a larger file",
            super::Size::from_bytes(largest)
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("expected text in UTF-8, found something else in line {line}")
    })
}

fn table_value(table: &DeTable<'_>, path: &str, origin: &dyn Fn(Range<usize>) -> Origin) -> Value {
    let entries = table.iter().map(|(key, item)| {
        let path = join(path, key.get_ref());
        let value = value(item.get_ref(), &path, origin);
        (key.get_ref().to_string(), Node::new(path, origin(key.span()), value))
    });
    Value::Table(entries.collect())
}

/// The value that TOML gives, with paths and origins of all in it.
pub(super) fn value(value: &DeValue<'_>, path: &str, origin: &dyn Fn(Range<usize>) -> Origin) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            // Too large for any type. What it is shown as is near.
            Err(_) => Value::Float(number.as_str().parse().unwrap_or(f64::INFINITY)),
        },
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(is) => Value::Boolean(*is),
        DeValue::Datetime(datetime) => Value::Datetime(datetime.to_string()),
        DeValue::Array(list) => {
            let items = list.iter().enumerate().map(|(index, item)| {
                let path = format!("{path}[{index}]");
                let inner = self::value(item.get_ref(), &path, origin);
                Node::new(path, origin(item.span()), inner)
            });
            Value::List(items.collect())
        }
        DeValue::Table(table) => table_value(table, path, origin),
    }
}

/// Where the lines of a text begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at + 1).collect())
    }

    fn at(&self, byte: usize) -> usize {
        self.0.partition_point(|start| *start <= byte) + 1
    }
}

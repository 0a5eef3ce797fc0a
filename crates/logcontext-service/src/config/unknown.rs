//! Unknown keys of types that would let them pass.

use super::error::Mistakes;
use super::message::unknown;
use super::node::{Node, Value};
use super::shape::Shape;

/// Refuses the keys that no type reads, in tables whose type does not do so itself: those with `serde(flatten)` cannot.
pub(super) fn refuse(shape: Shape<'_>, node: &mut Node, known: &[String], mistakes: &mut Mistakes) {
    match &mut node.value {
        Value::List(list) => {
            let of_item = shape.items().unwrap_or(shape);
            list.iter_mut().for_each(|item| refuse(of_item, item, known, mistakes));
        }
        Value::Table(table) => {
            if shape.properties().is_some() && !shape.is_closed() && !shape.is_map() {
                let names = shape.names();
                table.retain(|key, child| {
                    let is_known = shape.property_named(key).is_some();
                    if !is_known {
                        mistakes.add(&child.origin, Some(&child.path), unknown(&child.path, &names, known));
                    }
                    is_known
                });
            }
            for (key, child) in table {
                if let Some(shape) = shape.property(key) {
                    refuse(shape, child, known, mistakes);
                }
            }
        }
        _ => {}
    }
}

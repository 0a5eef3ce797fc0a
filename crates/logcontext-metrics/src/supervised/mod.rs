//! What the contexts of a supervisor cost, by label: from one reading of its totals.

mod families;
mod figures;
mod rows;

pub(crate) use families::write;
pub(crate) use figures::nanos;
pub(crate) use rows::{Row, Rows};

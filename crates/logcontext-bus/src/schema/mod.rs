//! The shapes of messages, as JSON Schema: made from their types, checked on both sides, shown to others.

mod check;
mod known;
mod shape;
mod sharing;
mod theirs;

pub(crate) use check::Check;
pub(crate) use known::Checks;
pub use shape::SchemaSet;
pub(crate) use shape::{of_event, of_rpc};
pub(crate) use sharing::Sharing;
pub(crate) use theirs::Theirs;

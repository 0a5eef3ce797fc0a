//! Figures for people, on a terminal.

mod plain;
mod table;
mod units;

pub(crate) use plain::{Keep, cut, plain};
pub(crate) use table::Table;
pub(crate) use units::{count, percent, ratio, time};

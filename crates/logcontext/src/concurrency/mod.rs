//! What tokio and the futures crate do not have: work that its caller's end does not cancel, and a timeout that says
//! whose it was. What works as it is, is in `docs/guide/concurrency.md`.
//!
//! In Rust a future is cancelled by dropping it, half-way and at once. Most work may end like that. Some may not: a
//! payment that was sent has to be written down, whether or not its client still listens.

mod gather;
mod shield;
mod timeout;

pub use gather::{Gathered, gather};
pub use shield::{Shielded, shield};
pub use timeout::{TimedOut, Timeout, timeout};

//! Real servers for tests, each with a folder and a port of its own.
//!
//! A server ends with whoever started it: when it is dropped, and also when the process that started it is
//! killed. Its folder goes with it. Nothing here touches a server that runs on the machine already.
//!
//! Tests that need a server are marked, so that plain `cargo test` passes with nothing but Rust installed and
//! tells what it left out. `cargo xtask test` runs them all:
//!
//! ```text
//! #[test]
//! #[ignore = "needs PostgreSQL: cargo xtask test"]
//! fn a_row_is_found_again() {
//!     let postgres = logcontext_testservers::Postgres::shared().unwrap();
//!     let url = postgres.fresh_database();
//!     // ...
//! }
//! ```
//!
//! All calls here block the thread until they are done: in a test of async code, make them before the runtime
//! starts or by `spawn_blocking`.
//!
//! Between a client and a server can be a [link](Link) that fails on command.
//!
//! One file per server, and per [program](Promtool) that tests need; what they have in common is in the other
//! files. Works on Unix.

mod account;
mod controls;
mod folder;
mod instance;
mod link;
mod nats;
mod poll;
mod port;
mod postgres;
mod processes;
mod programs;
mod promtool;
mod redis;
mod stop;
mod unavailable;
mod watched;

pub use link::Link;
pub use nats::Nats;
pub use postgres::Postgres;
pub use promtool::Promtool;
pub use redis::Redis;
pub use stop::Stop;
pub use unavailable::Unavailable;

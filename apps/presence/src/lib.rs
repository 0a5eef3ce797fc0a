//! The reference service of logcontext: users have a presence (`online`, `unavailable`, `offline`), may say
//! something about it, and others can read and follow it, and read what it was.
//!
//! It is written to be copied from. What is worth a look:
//! - `service.rs`: the layer, the accept loop, and a shutdown with a deadline;
//! - `store/`: transactions, what is told after a commit, and tidying up in batches;
//! - `store/profiles.rs`, `store/last_known.rs`: what is looked up once, and what is known without asking;
//! - `timeout.rs`, `prune.rs`: background processes;
//! - `api/error.rs`: what becomes of a database's errors;
//! - `api/stream.rs`: server-sent events that end when the service does;
//! - `serve.rs`: logging, runtime and signals, put together.

pub mod api;
pub mod cli;
pub mod database;
pub mod demo;
pub mod presence;
pub mod profile;
pub mod prune;
pub mod serve;
pub mod service;
pub mod signals;
pub mod store;
pub mod time;
pub mod timeout;
pub mod user;

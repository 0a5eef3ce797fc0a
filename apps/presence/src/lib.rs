//! The reference service of logcontext: users have a presence (`online`, `unavailable`, `offline`), may say
//! something about it, and others can read and follow it, and read what it was.
//!
//! It is written to be copied from. What is worth a look:
//! - `server.rs`: a server in one file, on `logcontext-service`;
//! - `settings.rs`: what can be said of it, in a file, by variables or on the command line;
//! - `store/`: transactions, what is told after a commit, and tidying up in batches;
//! - `store/profiles.rs`, `store/last_known.rs`: what is looked up once, and what is known without asking;
//! - `timeout.rs`, `prune.rs`: background processes;
//! - `role.rs`: what a process does where there are several;
//! - `store/publish.rs`: what is stored with the data, to be told by the bus;
//! - `bus/`: what others are told by the bus, and may ask;
//! - `status/`: all processes in one table;
//! - `federation/`, `sender/`: other hubs, and how they are told;
//! - `api/error.rs`: what becomes of a database's errors;
//! - `api/stream.rs`: server-sent events that end when the service does.

pub mod api;
pub mod bus;
pub mod demo;
pub mod federation;
pub mod presence;
pub mod profile;
pub mod prune;
pub mod role;
pub mod sender;
pub mod server;
pub mod settings;
mod show;
pub mod status;
pub mod store;
pub mod time;
pub mod timeout;
pub mod user;

//! A database pool with log contexts: every request knows how many transactions it made, how long they took, and
//! how long it waited for a connection; and whatever becomes of a request, its transactions end properly.
//!
//! [`Database`] is one handle for SQLite and PostgreSQL, on sqlx's drivers.
//!
//! - Transactions have names, are [tried again](Database::run_interaction) where others were in their way, and are
//!   rolled back on an error, a panic, or when nobody waits for them any more. Synapse: `runInteraction`.
//! - Waiting for a connection is measured apart from connecting, per context and per pool, also [while it
//!   lasts](Database::waiting).
//! - The CPU that SQLite burns on its driver's thread is charged to the request that asked for it.
//! - A request that goes away takes its running statement with it.
//! - Every connection that was opened is closed: see [`Database::close`].
//!
//! Statements have their parameters as `$1`, `$2`, .. on both.
//!
//! # Features
//! - `sqlite` (default): SQLite, built with the crate.
//! - `postgres`: PostgreSQL.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(any(feature = "sqlite", feature = "postgres")),
    allow(
        dead_code,
        unused,
        clippy::unused_async,
        clippy::needless_pass_by_value,
        reason = "without a database there is nothing to do"
    )
)]

mod backend;
mod builder;
mod connection;
mod database;
mod error;
mod follower;
mod interaction;
mod keys;
mod migrations;
mod native;
mod plain;
mod pool;
mod row;
mod settings;
mod sqlx_pool;
mod txn;
mod value;

use logcontext::Counter;

pub use backend::Backend;
pub use builder::DatabaseBuilder;
pub use database::{Closed, Database};
pub use error::Error;
pub use interaction::{Interaction, Isolation};
pub use migrations::Migration;
pub use native::Native;
pub use pool::Waiting;
pub use row::{Column, ColumnName, Row};
pub use sqlx_pool::{Accounted, AccountedPool};
pub use txn::Txn;
pub use value::{Arguments, Parameter, Parameters};

pub use sqlx;
pub use sqlx::{AssertSqlSafe, SqlSafeStr};

/// Rows that were fetched from a database, by context.
pub static DB_ROWS_FETCHED: Counter = Counter::new("db_rows_fetched");

/// The guide's examples are tests.
#[cfg(all(doctest, feature = "sqlite"))]
#[doc = include_str!("../../../docs/guide/database.md")]
pub struct Guide;

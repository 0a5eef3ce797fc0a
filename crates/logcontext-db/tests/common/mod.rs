//! Databases to test with, and runtimes.

#![allow(dead_code, unused_macros, unused_imports, reason = "no test uses all of it")]

pub(crate) mod asking;
pub(crate) mod drivers;
pub(crate) mod figures;
pub(crate) mod hold;
pub(crate) mod outside;
pub(crate) mod server;

use std::sync::Arc;
use std::time::Duration;

use logcontext::testing::Test;
use logcontext::{FutureExt, LogContext};
use logcontext_db::{Backend, Database, DatabaseBuilder};
use logcontext_testservers::Postgres;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A database of a test's own, empty, gone with it.
pub(crate) struct Own {
    pub(crate) url: String,
    pub(crate) backend: Backend,
    folder: Option<TempDir>,
    server: Option<Arc<Postgres>>,
}

impl Own {
    /// In a file.
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("test.db").display());
        Self { url, backend: Backend::Sqlite, folder: Some(folder), server: None }
    }

    /// On the server of this test run.
    pub(crate) fn postgres() -> Self {
        let server = Postgres::shared().unwrap_or_else(|missing| panic!("{missing}"));
        Self { url: server.fresh_database(), backend: Backend::Postgres, folder: None, server: None }
    }

    /// On a server of the test's own.
    pub(crate) fn on(server: &Arc<Postgres>) -> Self {
        let (url, server) = (server.fresh_database(), Some(Arc::clone(server)));
        Self { url, backend: Backend::Postgres, folder: None, server }
    }

    pub(crate) fn builder(&self) -> DatabaseBuilder {
        Database::builder(&*self.url)
    }
}

/// From now on a panic prints its message and no more.
pub(crate) fn short_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|info| eprintln!("{info}"))));
}

/// A server of the test's own.
pub(crate) fn server(settings: &[(&str, &str)]) -> Arc<Postgres> {
    Arc::new(Postgres::start_with(settings).unwrap_or_else(|missing| panic!("{missing}")))
}

/// Both kinds of runtime.
pub(crate) fn runtimes(test: &Test) -> [Runtime; 2] {
    let mut workers = Builder::new_multi_thread();
    workers.worker_threads(2);
    [Builder::new_current_thread(), workers].map(|mut builder| {
        builder
            .enable_all()
            .on_thread_start(test.thread_start())
            .on_thread_park(logcontext::expect_sentinel)
            .build()
            .expect("a runtime")
    })
}

/// Runs the test on both runtimes, each time on a database of its own, in a context of its own.
#[expect(clippy::needless_pass_by_value, reason = "a closure that is written where it is passed")]
pub(crate) fn run(own: impl Fn() -> Own, test: impl AsyncFn(Own, Setting<'_>)) {
    let kit = logcontext::testing::start();
    for runtime in runtimes(&kit) {
        let own = own();
        let context = LogContext::builder("GET-1").supervisor(kit.supervisor()).start();
        let setting = Setting { context: context.clone(), test: &kit };
        runtime.block_on(test(own, setting).in_context(context));
    }
}

/// What a test runs in.
pub(crate) struct Setting<'a> {
    pub(crate) context: LogContext,
    pub(crate) test: &'a Test,
}

impl Setting<'_> {
    /// How many transactions its context was charged.
    pub(crate) fn transactions(&self) -> u64 {
        self.context.usage().db_txn_count
    }
}

/// Tests that hold on both databases and both runtimes: `sqlite::name`, and `postgres::name`, which needs a server.
///
/// ```text
/// on_both_databases! {
///     async fn a_transaction_is_committed(own: Own, setting: Setting<'_>) { .. }
/// }
/// ```
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($own:ident: Own, $setting:ident: Setting<'_>) $body:block)*) => {
        mod sqlite {
            use super::*;
            $(#[test] $(#[$attribute])* fn $name() {
                common::run(common::Own::sqlite, async |$own, $setting| $body);
            })*
        }
        mod postgres {
            use super::*;
            $(#[test] #[ignore = "needs PostgreSQL: cargo xtask test"] $(#[$attribute])* fn $name() {
                common::run(common::Own::postgres, async |$own, $setting| $body);
            })*
        }
    };
}
pub(crate) use on_both_databases;

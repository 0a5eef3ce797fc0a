//! A database of a test's own, and a broker that does what it is told.
#![allow(dead_code, unused_imports, unused_macros, unreachable_pub, reason = "each test file uses its part")]

pub mod broker;

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use logcontext::source::{Buckets, Collector};
use logcontext::testing::{self, Test};
use logcontext::{FutureExt as _, LogContext, Supervisor};
use logcontext_bus::{Bus, Event, FireInError, Listener, Outbox, OutboxConfig};
use logcontext_db::{Database, Error};
use logcontext_testservers::Postgres;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedReceiver;

/// Nothing here takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A database of a test's own, gone with it.
pub struct Own {
    pub url: String,
    _folder: Option<TempDir>,
}

impl Own {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let url = format!("sqlite:{}?mode=rwc", folder.path().join("test.db").display());
        Self { url, _folder: Some(folder) }
    }

    pub fn postgres() -> Self {
        let server = Postgres::shared().unwrap_or_else(|missing| panic!("{missing}"));
        Self { url: server.fresh_database(), _folder: None }
    }
}

/// Tests that hold on both databases: `sqlite::name`, and `postgres::name`, which needs a server. What `sqlite::name` needs
/// is said by its attribute.
macro_rules! on_both_databases {
    (only postgres $(fn $name:ident($own:ident: Own) $body:block)*) => {
        mod postgres {
            use super::*;
            $(#[test] #[ignore = "needs PostgreSQL: cargo xtask test"] fn $name() {
                let $own = Own::postgres();
                $body
            })*
        }
    };
    ($($(#[$attribute:meta])* fn $name:ident($own:ident: Own) $body:block)*) => {
        mod sqlite {
            use super::*;
            $(#[test] $(#[$attribute])* fn $name() {
                let $own = Own::sqlite();
                $body
            })*
        }
        stored::on_both_databases! { only postgres $(fn $name($own: Own) $body)* }
    };
}
pub(crate) use on_both_databases;

/// Runs the test beside two workers, shuts down what it has left, and looks whether anything is left then.
pub fn with(own: &Own, f: impl AsyncFnOnce(String, Supervisor)) {
    drop(with_and(own, async |url, test| f(url, test.supervisor().clone()).await));
}

/// The same, and what was seen of it.
pub fn with_and(own: &Own, f: impl AsyncFnOnce(String, &Test)) -> Test {
    crate::support::short_panics();
    let test = testing::start();
    crate::support::patient(test.supervisor());
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().on_thread_start(test.thread_start());
    let runtime = builder.on_thread_park(logcontext::expect_sentinel).build().unwrap();
    let work = f(own.url.clone(), &test).in_context(LogContext::new("test"));
    runtime.block_on(async { soon("the test", work).await });
    let shutdown = runtime.block_on(test.supervisor().shutdown(PATIENCE));
    assert!(shutdown.aborted.is_empty(), "{:?}", shutdown.aborted);
    drop(runtime);
    crate::support::nothing_is_left(&test);
    test
}

pub async fn open(url: &str) -> Database {
    Database::open(url).await.unwrap()
}

/// One that does not wait for long.
pub fn quick() -> OutboxConfig {
    OutboxConfig { poll: Duration::from_millis(5), ..OutboxConfig::default() }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Set {
    pub user: String,
    pub n: u64,
}

impl Event for Set {
    const NAME: &str = "presence.set";
    const PARTITIONS: u16 = 4;

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.user))
    }
}

pub fn set(user: &str, n: u64) -> Set {
    Set { user: user.to_owned(), n }
}

/// Fires these in one transaction.
pub async fn fire(database: &Database, bus: &Bus, events: &[Set]) -> Result<(), FireInError> {
    database
        .run_interaction("fire", |mut txn| async move {
            for event in events {
                bus.fire_in(&mut txn, event).await?;
            }
            Ok(())
        })
        .await
}

/// Hears of all of them.
pub async fn hear(bus: &Bus) -> UnboundedReceiver<Set> {
    let (tell, told) = crate::support::tell();
    let listener = bus.listen::<Set>("test", move |set: Set| std::future::ready(tell.send(set)));
    listener.in_order().slots(64).start().await.unwrap();
    told
}

pub async fn next(told: &mut UnboundedReceiver<Set>) -> Set {
    soon("the next event", told.recv()).await.expect("it listens")
}

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let watch = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(what, watch).await;
}

/// So many events wait in the database.
pub async fn rows(database: &Database) -> i64 {
    number(database, "SELECT count(*) FROM logcontext_outbox").await
}

/// Somebody has the lease.
pub async fn is_leased(database: &Database) -> bool {
    number(database, "SELECT count(*) FROM logcontext_outbox_lease WHERE holder IS NOT NULL").await > 0
}

pub async fn number(database: &Database, sql: &'static str) -> i64 {
    database.query_one("look", sql, ()).await.unwrap().get(0).unwrap()
}

/// The value of a figure of this supervisor's, summed over labels, if it has one.
pub fn figure(supervisor: &Supervisor, name: &str) -> Option<f64> {
    struct Seen<'a>(&'a str, Option<f64>);
    impl Collector for Seen<'_> {
        fn value(&mut self, name: &'static str, _: &[(&'static str, &str)], value: f64) {
            if name == self.0 {
                *self.1.get_or_insert(0.0) += value;
            }
        }
        fn histogram(&mut self, name: &'static str, _: &[(&'static str, &str)], buckets: &Buckets) {
            if name == self.0 {
                *self.1.get_or_insert(0.0) += buckets.count() as f64;
            }
        }
    }
    let mut seen = Seen(name, None);
    supervisor.sources().iter().for_each(|source| source.collect(&mut seen));
    seen.1
}

/// A process of its own, as far as that goes here: a supervisor, a bus, a database, an outbox.
pub struct Process {
    pub supervisor: Supervisor,
    pub bus: Bus,
    pub database: Database,
    pub outbox: Outbox,
}

impl Process {
    pub async fn start(
        url: &str,
        broker: &dyn logcontext_bus::transport::Connector,
        config: OutboxConfig,
    ) -> Self {
        let supervisor = Supervisor::new("process");
        crate::support::patient(&supervisor);
        let startup = supervisor.context("startup").start();
        let bus_config = logcontext_bus::BusConfig::new("presence", "memory:");
        let bus = startup.scope(|| Bus::over(&bus_config, broker)).unwrap();
        let url = url.to_owned();
        let opening = async {
            let database = open(&url).await;
            let outbox = Outbox::open_with(&bus, &database, config).await.unwrap();
            (database, outbox)
        };
        let (database, outbox) = opening.in_context(startup.clone()).await;
        startup.finish();
        Self { supervisor, bus, database, outbox }
    }

    pub fn leads(&self) -> bool {
        figure(&self.supervisor, "outbox_leased") == Some(1.0)
    }

    /// In order.
    pub async fn end(self) {
        let context = self.supervisor.context("shutdown").start();
        let ending = async {
            let shutdown = self.supervisor.shutdown(PATIENCE).await;
            assert!(shutdown.aborted.is_empty(), "{:?}", shutdown.aborted);
            self.bus.close(PATIENCE).await;
            assert_eq!(self.database.close(PATIENCE).await.left_open, 0);
        };
        ending.in_context(context.clone()).await;
        context.finish();
    }

    /// As a process ends that is killed: nothing is let go.
    pub async fn kill(self) {
        let context = self.supervisor.context("shutdown").start();
        let ending = async {
            drop(self.supervisor.shutdown(Duration::ZERO).await);
            self.bus.close(Duration::ZERO).await;
            self.database.close(PATIENCE).await;
        };
        ending.in_context(context.clone()).await;
        context.finish();
    }
}

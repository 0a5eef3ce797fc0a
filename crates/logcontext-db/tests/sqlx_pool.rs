//! What a service's own `sqlx::Pool` costs, in the books.

mod common;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext, current_context};
use logcontext_db::{AccountedPool, sqlx};
use logcontext_http::ContextLayer;
use sqlx::pool::PoolOptions;
use tower::{Layer, ServiceExt, service_fn};

const TABLES: &str = "CREATE TABLE users (name TEXT PRIMARY KEY);
    CREATE TABLE devices (name TEXT REFERENCES users (name) DEFERRABLE INITIALLY DEFERRED);";

/// A pool of one connection, and the tables.
async fn pool<DB: sqlx::Database>(url: &str) -> AccountedPool<DB>
where
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
{
    let pool = PoolOptions::new().max_connections(1).connect(url).await.expect("a pool");
    sqlx::raw_sql(TABLES).execute(&mut *pool.acquire().await.unwrap()).await.expect("the tables");
    AccountedPool::new(pool)
}

/// How many users there are, asked beside the books.
macro_rules! users {
    ($pool:expr) => {{
        let mut connection = $pool.pool().acquire().await.unwrap();
        sqlx::query_scalar::<_, i64>("SELECT count(*) FROM users").fetch_one(&mut *connection).await.unwrap()
    }};
}

/// Like `common::on_both_databases`, with an [`AccountedPool`] instead of a database.
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($pool:ident, $setting:ident) $body:block)*) => {
        mod sqlite {
            use super::*;
            $(#[test] $(#[$attribute])* fn $name() {
                common::run(common::Own::sqlite, async |own, $setting: common::Setting<'_>| {
                    let $pool = pool::<sqlx::Sqlite>(&own.url).await;
                    $body
                    $pool.pool().close().await;
                });
            })*
        }
        mod postgres {
            use super::*;
            $(#[test] #[ignore = "needs PostgreSQL: cargo xtask test"] $(#[$attribute])* fn $name() {
                common::run(common::Own::postgres, async |own, $setting: common::Setting<'_>| {
                    let $pool = pool::<sqlx::Postgres>(&own.url).await;
                    $body
                    $pool.pool().close().await;
                });
            })*
        }
    };
}

/// Where the future has got to after one poll.
async fn once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    let mut future = future;
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

on_both_databases! {
    async fn a_commit_is_counted_and_the_wait_is_unknown(pool, setting) {
        assert_eq!(setting.context.usage().db_wait(), Some(Duration::ZERO));
        let mut txn = pool.begin("add_user").await.unwrap();
        let usage = setting.context.usage();
        assert!(!usage.db_acquire.is_zero());
        assert_eq!((usage.db_wait(), usage.db_txn_count), (None, 0));

        sqlx::query("INSERT INTO users VALUES ('alice')").execute(&mut *txn).await.unwrap();
        txn.commit().await.unwrap();
        let after = setting.context.usage();
        assert_eq!(after.db_txn_count, 1);
        assert!(!after.db_txn_duration.is_zero());
        assert_eq!(after.db_acquire, usage.db_acquire);
        assert_eq!(users!(pool), 1);
    }

    async fn a_rollback_is_counted(pool, setting) {
        let mut txn = pool.begin("add_user").await.unwrap();
        sqlx::query("INSERT INTO users VALUES ('alice')").execute(&mut *txn).await.unwrap();
        assert_eq!(setting.context.usage().db_txn_count, 0);
        txn.rollback().await.unwrap();
        assert_eq!(setting.context.usage().db_txn_count, 1);
        assert_eq!(users!(pool), 0);
    }

    async fn a_transaction_that_is_dropped_is_rolled_back_and_counted_once(pool, setting) {
        let mut txn = pool.begin("add_user").await.unwrap();
        sqlx::query("INSERT INTO users VALUES ('alice')").execute(&mut *txn).await.unwrap();
        drop(txn);
        assert_eq!(users!(pool), 0);
        assert_eq!(setting.context.usage().db_txn_count, 1);
    }

    async fn an_error_of_a_statement_is_counted_once(pool, setting) {
        let failed = async {
            let mut txn = pool.begin("add_user").await?;
            sqlx::query("INSERT INTO users VALUES ('alice')").execute(&mut *txn).await?;
            sqlx::query("nonsense").execute(&mut *txn).await?;
            txn.commit().await
        };
        assert!(matches!(failed.await, Err(sqlx::Error::Database(_))));
        assert_eq!(setting.context.usage().db_txn_count, 1);
        assert_eq!(users!(pool), 0);
    }

    async fn an_error_of_the_commit_is_counted_once(pool, setting) {
        let mut txn = pool.begin("add_device").await.unwrap();
        sqlx::query("INSERT INTO devices VALUES ('nobody')").execute(&mut *txn).await.unwrap();
        assert!(txn.commit().await.is_err());
        assert_eq!(setting.context.usage().db_txn_count, 1);
    }

    async fn a_commit_that_nobody_waits_for_is_counted_once(pool, setting) {
        let txn = pool.begin("nothing").await.unwrap();
        {
            let mut commit = std::pin::pin!(txn.commit());
            // SQLite may be so fast.
            let done = once(commit.as_mut()).await.is_ready();
            assert_eq!(setting.context.usage().db_txn_count, u64::from(done));
        }
        assert_eq!(setting.context.usage().db_txn_count, 1);
    }

    async fn what_is_done_with_a_connection_counts_as_one_transaction(pool, setting) {
        let mut connection = pool.acquire("add_users").await.unwrap();
        for name in ["alice", "bob"] {
            sqlx::query("INSERT INTO users VALUES ($1)").bind(name).execute(&mut *connection).await.unwrap();
        }
        let usage = setting.context.usage();
        assert!(!usage.db_acquire.is_zero());
        assert_eq!((usage.db_wait(), usage.db_txn_count), (None, 0));
        drop(connection);
        let usage = setting.context.usage();
        assert_eq!(usage.db_txn_count, 1);
        assert!(!usage.db_txn_duration.is_zero());
        assert_eq!(users!(pool), 2);
    }

    async fn the_time_is_recorded_also_if_there_is_no_connection(pool, setting) {
        let taken = pool.acquire("all_there_are").await.unwrap();
        let before = setting.context.usage();
        {
            let mut getting = std::pin::pin!(pool.begin("impatient"));
            assert!(once(getting.as_mut()).await.is_pending());
            assert_eq!(setting.context.usage().db_acquire, before.db_acquire);
        }
        let given_up = setting.context.usage();
        assert!(given_up.db_acquire > before.db_acquire);
        // That alone closes it.
        drop(pool.pool().close());
        assert!(matches!(pool.begin("late").await.unwrap_err(), sqlx::Error::PoolClosed));
        assert!(setting.context.usage().db_acquire > given_up.db_acquire);
        assert_eq!(setting.context.usage().db_txn_count, 0);
        drop(taken);
        assert_eq!(setting.context.usage().db_txn_count, 1);
    }

    async fn the_context_that_asked_pays(pool, setting) {
        let other = LogContext::builder("GET-2").supervisor(setting.test.supervisor()).start();
        let txn = pool.begin("nothing").await.unwrap();
        txn.commit().in_context(other.clone()).await.unwrap();
        assert_eq!(setting.context.usage().db_txn_count, 1);
        assert_eq!(other.usage().db_txn_count, 0);
    }

    async fn the_sentinel_raises_a_diagnostic_each_time(pool, setting) {
        let nobodys = async {
            pool.begin("nobodys_transaction").await.unwrap().commit().await.unwrap();
            drop(pool.acquire("nobodys_connection").await.unwrap());
        };
        nobodys.in_context(LogContext::sentinel()).await;
        let reports = setting.test.take(DiagnosticKind::TransactionFromSentinel);
        let details: Vec<_> = reports.iter().map(|report| report.detail.as_deref()).collect();
        assert_eq!(details, [Some("nobodys_transaction"), Some("nobodys_connection")]);
        assert!(reports.iter().all(|report| report.origin.is_some_and(|origin| origin.file() == file!())));
        assert_eq!(setting.context.usage().db_txn_count, 0);
    }

    async fn the_access_line_has_a_dash_for_the_wait_and_no_field(pool, setting) {
        let handler = |request: Request<&'static str>| {
            let pool = pool.clone();
            async move {
                if *request.body() == "transaction" {
                    pool.begin("nothing").await.unwrap().commit().await.unwrap();
                    assert_ne!(current_context().usage().db_acquire, Duration::ZERO);
                }
                Ok::<_, Infallible>(Response::new(String::new()))
            }
        };
        let service = ContextLayer::new().supervisor(setting.test.supervisor()).layer(service_fn(handler));
        for body in ["transaction", "none"] {
            let response = service.clone().oneshot(Request::new(body)).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
        let lines = setting.test.records();
        let mut lines = lines.iter().filter(|record| record.target == "logcontext::access").rev();
        let (without, with) = (lines.next().unwrap(), lines.next().unwrap());
        assert!(with.message.contains(" db=(-/"), "{}", with.message);
        assert_eq!((with.field("db_wait_seconds"), with.field("db_txn_count")), (None, Some("1")));
        assert!(without.message.contains(" db=(0.000sec/0.000sec/0) "), "{}", without.message);
        assert_eq!((without.field("db_wait_seconds"), without.field("db_txn_count")), (Some("0.0"), Some("0")));
    }
}

//! A file is opened while somebody writes it. Alone in its process, for it looks at SQLite's threads there.
#![cfg(target_os = "linux")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::outside::{Outside, until};
use common::{DEADLINE, Own, drivers};
use logcontext_db::{Error, Migration};

/// Making a file a write-ahead one is what SQLite itself does not wait for.
#[test]
fn who_opens_a_file_that_somebody_writes_waits_for_them() {
    common::run(Own::sqlite, async |own, _| {
        let mut outside = Outside::open(&own).await;
        outside.run("BEGIN IMMEDIATE; CREATE TABLE theirs (i)").await;
        let table = Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY)");
        let opening = own.builder().migrations([table]).open();
        // Each try has a thread of its own, and this connection has one.
        let mut threads = BTreeSet::new();
        let mut tried_again = || {
            threads.extend(drivers::cpu().into_keys());
            threads.len() > 3
        };
        let writing = async {
            until("it has tried again", &mut tried_again).await;
            // Who looks at the file is in the way of that, for a moment.
            while let Err(error) = outside.try_run("COMMIT").await {
                assert!(error.to_string().contains("locked"), "{error}");
            }
        };
        let (opened, ()) = tokio::join!(opening, writing);
        assert_eq!(outside.number("SELECT count(*) FROM theirs").await, 0);
        outside.close().await;
        assert_eq!(opened.unwrap().close(DEADLINE).await.left_open, 0);

        // No longer than it is told to.
        let mut outside = Outside::open(&own).await;
        outside.run("PRAGMA journal_mode = DELETE; BEGIN IMMEDIATE").await;
        let refused = own.builder().busy_timeout(Duration::from_millis(50)).open().await;
        assert!(matches!(refused, Err(Error::Connect { .. })), "{refused:?}");
        outside.run("ROLLBACK").await;
        outside.close().await;
    });
}

//! No thread of SQLite's is left behind. A test program of its own: it looks at all threads of the process.

#![cfg(target_os = "linux")]

mod common;

use std::fs;

use common::hold::{self, Hold};
use common::outside::{polled, until};
use common::{DEADLINE, Own};
use logcontext_db::Migration;

fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks
        .filter(|task| {
            fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("sqlite-"))
        })
        .count()
}

#[test]
fn no_thread_is_left_behind() {
    common::run(Own::sqlite, async |own, setting| {
        let db = own.builder().open().await.unwrap();
        let held = Hold::begin(&db, &setting.context).await;
        db.query("one", "SELECT 1", ()).await.unwrap();
        assert_eq!(threads(), 2);
        held.end().await.unwrap();
        db.close(DEADLINE).await;
        // It has let go of the file by now, and ends.
        until("closed", || threads() == 0).await;

        let db = own.builder().open().await.unwrap();
        let statement =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n";
        let mine = db.clone();
        let running = hold::run(&setting.context, async move { mine.query("forever", statement, ()).await });
        until("it runs", || db.connections_in_use() == 1).await;
        running.abort();
        assert!(running.await.is_err());
        drop(db);
        until("dropped", || threads() == 0).await;

        let broken = || own.builder().migrations([Migration::new(1, "typo", "CREAT")]);
        assert!(broken().open().await.is_err());
        until("failed", || threads() == 0).await;

        for polls in 1.. {
            if polled(polls, broken().open()).await.is_some() {
                break;
            }
            until("cancelled", || threads() == 0).await;
        }
    });
}

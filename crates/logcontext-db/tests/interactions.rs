//! What an interaction does, and what it counts.

mod common;

use common::{DEADLINE, on_both_databases};
use logcontext_db::{Error, Migration};

fn table() -> [Migration; 1] {
    [Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY, age BIGINT NOT NULL)")]
}

on_both_databases! {
    async fn what_is_committed_is_seen_and_counted(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(table()).open().await.unwrap();
        let changed = db
            .run_interaction("add_user", |mut txn| async move {
                txn.execute("INSERT INTO users VALUES ($1, $2)", ("alice", 30_i64)).await
            })
            .await;
        assert_eq!(changed.unwrap(), 1);
        let row = db.query_one("get_user", "SELECT age FROM users WHERE name = $1", ("alice",)).await.unwrap();
        assert_eq!(row.get::<i64>("age").unwrap(), 30);
        assert_eq!(setting.context.usage().db_txn_count, 2);
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }

    async fn what_fails_is_rolled_back_and_counted(own: Own, setting: Setting<'_>) {
        let db = own.builder().migrations(table()).open().await.unwrap();
        let failed: Result<(), Error> = db
            .run_interaction("add_user", |mut txn| async move {
                txn.execute("INSERT INTO users VALUES ($1, $2)", ("alice", 30_i64)).await?;
                txn.execute("nonsense", ()).await?;
                Ok(())
            })
            .await;
        assert!(matches!(failed, Err(Error::Database(_))), "{failed:?}");
        assert_eq!(setting.context.usage().db_txn_count, 1);
        assert!(db.query("all", "SELECT * FROM users", ()).await.unwrap().is_empty());
        assert_eq!(db.close(DEADLINE).await.left_open, 0);
    }
}

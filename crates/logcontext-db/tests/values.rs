//! What goes into statements and comes out of rows is the same on both databases.

mod common;

use common::hold;
use common::{DEADLINE, Own, on_both_databases};
use logcontext_db::sqlx::{self, Connection as _, Row as _};
use logcontext_db::{Arguments, Backend, Database, Error, Migration, Parameters};

fn table() -> [Migration; 1] {
    [Migration::new(
        1,
        "all",
        "CREATE TABLE every (id INTEGER, flag BOOLEAN, small SMALLINT, medium INT, large BIGINT, near REAL,
                             far DOUBLE, words TEXT, bytes BLOB)",
    )
    .postgres(
        "CREATE TABLE every (id INTEGER, flag BOOLEAN, small SMALLINT, medium INT, large BIGINT, near REAL,
                             far DOUBLE PRECISION, words TEXT, bytes BYTEA)",
    )]
}

async fn open(own: &Own) -> Database {
    own.builder().migrations(table()).max_connections(1).open().await.unwrap()
}

const INSERT: &str = "INSERT INTO every VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

on_both_databases! {
    async fn each_type_comes_back_as_it_went(own: Own, _setting: Setting<'_>) {
        let db = open(&own).await;
        let texts = ["", "hello", "zwölf Boxkämpfer", "日本語 🦀", "'; DROP TABLE every; --", "a\nb\t\"c\"\\"];
        let blobs: [&[u8]; 4] = [b"", b"\0\x01\xff", &[0; 10_000], "🦀".as_bytes()];
        let floats = [0.0, -1.5, f64::MAX, f64::MIN_POSITIVE];
        for round in 0..6_usize {
            let id = i32::try_from(round).unwrap();
            let large = [0, 1, -1, i64::MAX, i64::MIN, 1 << 40][round];
            let (text, blob, float) = (texts[round], blobs[round % 4], floats[round % 4]);
            let (medium, small) = ([0, i32::MAX, i32::MIN][round % 3], [0, i16::MAX, i16::MIN][round % 3]);
            let near = [0.0_f32, 1.5, f32::MAX][round % 3];
            let flag = round % 2 == 0;
            // Owned and borrowed.
            let changed = if flag {
                db.execute("put", INSERT, (id, flag, small, medium, large, near, float, text, blob)).await
            } else {
                let (text, blob) = (text.to_owned(), blob.to_vec());
                db.execute("put", INSERT, (id, flag, small, medium, large, near, float, text, blob)).await
            };
            assert_eq!(changed.unwrap(), 1);
            let row = db.query_one("get", "SELECT * FROM every WHERE id = $1", (id,)).await.unwrap();
            assert_eq!((row.len(), row.is_empty()), (9, false));
            assert_eq!(row.get::<i32>("id").unwrap(), id);
            assert_eq!(row.get::<bool>("flag").unwrap(), flag);
            assert_eq!(row.get::<i16>("small").unwrap(), small);
            assert_eq!(row.get::<i32>("medium").unwrap(), medium);
            assert_eq!(row.get::<i64>("large").unwrap(), large);
            assert_eq!(row.get::<f64>("far").unwrap().to_bits(), float.to_bits());
            assert_eq!(row.get::<f32>("near").unwrap().to_bits(), near.to_bits());
            assert_eq!(row.get::<&str>("words").unwrap(), text);
            assert_eq!(row.get::<String>(7).unwrap(), text);
            assert_eq!(row.get::<&[u8]>("bytes").unwrap(), blob);
            assert_eq!(row.get::<Vec<u8>>(8).unwrap(), blob);
            assert_eq!(row.get::<Option<i64>>("large").unwrap(), Some(large));
            assert!(!format!("{row:?}").contains("hello"), "values are the users'");
        }
        db.close(DEADLINE).await;
    }

    async fn null_is_none_and_nothing_else(own: Own, _setting: Setting<'_>) {
        let db = open(&own).await;
        let (integers, floats) = ((None::<i16>, None::<i32>, None::<i64>), (None::<f32>, None::<f64>));
        let (flag, words, bytes) = (None::<bool>, None::<&str>, None::<Vec<u8>>);
        let none = (1_i32, flag, integers.0, integers.1, integers.2, floats.0, floats.1, words, bytes);
        db.execute("put", INSERT, none).await.unwrap();
        let row = db.query_one("get", "SELECT * FROM every", ()).await.unwrap();
        assert_eq!(row.get::<Option<bool>>("flag").unwrap(), None);
        assert_eq!(row.get::<Option<i64>>("large").unwrap(), None);
        assert_eq!(row.get::<Option<f64>>("far").unwrap(), None);
        assert_eq!(row.get::<Option<String>>("words").unwrap(), None);
        assert_eq!(row.get::<Option<&[u8]>>("bytes").unwrap(), None);
        let error = row.get::<i64>("large").unwrap_err();
        assert!(matches!(&error, Error::Database(sqlx::Error::ColumnDecode { .. })), "{error:?}");
        assert!(row.get::<String>("words").is_err());
        db.close(DEADLINE).await;
    }

    async fn what_does_not_fit_is_an_error(own: Own, _setting: Setting<'_>) {
        let db = open(&own).await;
        let one = (1_i32, true, 1_i16, 1_i32, i64::MAX, 1.0_f32, 1.0, "one", &b"one"[..]);
        db.execute("put", INSERT, one).await.unwrap();
        let row = db.query_one("get", "SELECT * FROM every", ()).await.unwrap();
        assert!(row.get::<i64>("words").is_err());
        assert!(row.get::<String>("large").is_err());
        assert!(row.get::<i32>("large").is_err(), "it is too large");
        assert!(row.get::<bool>("words").is_err());
        for error in [row.get::<i64>("nothing").unwrap_err(), row.get::<i64>(17).unwrap_err()] {
            assert!(error.driver().is_some(), "{error:?}");
        }
        // Into the database, too: and the connection is as good as before.
        let wrong = db.query("wrong", "SELECT * FROM every WHERE large = $1 AND nothing", (1_i64,)).await;
        assert!(wrong.is_err());
        let nul = db.query("nul", "SELECT $1", ("a\0b",)).await;
        assert!(nul.is_ok() || own.backend == Backend::Postgres, "{nul:?}");
        assert!(db.query("unknown", "SELECT * FROM nowhere", ()).await.is_err());
        let none = db.query_one("none", "SELECT * FROM every WHERE large = 0", ()).await;
        assert!(matches!(none, Err(Error::Database(sqlx::Error::RowNotFound))), "{none:?}");
        assert!(db.query_optional("none", "SELECT * FROM every WHERE large = 0", ()).await.unwrap().is_none());
        assert_eq!(db.query("get", "SELECT * FROM every", ()).await.unwrap().len(), 1);
        db.close(DEADLINE).await;
    }

    async fn too_few_and_too_many_values_break_nothing(own: Own, _setting: Setting<'_>) {
        struct Many(usize);
        impl Parameters for Many {
            fn bind(self, arguments: &mut Arguments) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                (0..self.0).try_for_each(|_| arguments.add(1_i64))
            }
        }
        let db = open(&own).await;
        db.run_interaction("many", |mut txn| async move {
            let row = txn.query_one("SELECT CAST($3 AS BIGINT)", Many(3)).await;
            let _ = row.map(|row| assert_eq!(row.get::<i64>(0).unwrap(), 1));
            Ok::<(), Error>(())
        })
        .await
        .ok();
        // Called an error of the statement, not of the connection, or taken as NULL.
        let _ = db.query("few", "SELECT CAST($1 AS BIGINT), CAST($2 AS BIGINT)", Many(1)).await.map_err(|error| {
            assert!(matches!(error, Error::Database(_)), "{error:?}");
        });
        let error = db.query("many", "SELECT 1", Many(70_000)).await;
        match own.backend {
            Backend::Postgres => {
                let error = error.unwrap_err();
                assert!(matches!(error, Error::Database(sqlx::Error::Encode(_))), "{error:?}");
                assert!(error.to_string().contains("at most 65535 parameters"), "{error}");
            }
            _ => drop(error),
        }
        // A value of a service's own that cannot be put into anything.
        struct Broken;
        impl Parameters for Broken {
            fn bind(self, _: &mut Arguments) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                Err("out of order".into())
            }
        }
        let error = db.execute("broken", "DELETE FROM every WHERE large = $1", Broken).await.unwrap_err();
        assert!(error.to_string().contains("out of order"), "{error}");
        db.run_interaction("broken", |mut txn| async move {
            assert!(txn.execute("DELETE FROM every WHERE large = $1", Broken).await.is_err());
            // Nothing was sent, so nothing has failed.
            txn.query("SELECT 1", ()).await
        })
        .await
        .unwrap();
        let row = db.query_one("fine", "SELECT CAST($1 AS BIGINT)", (7_i64,)).await.unwrap();
        assert_eq!(row.get::<i64>(0).unwrap(), 7);
        assert_eq!(db.open_connections(), if own.backend == Backend::Sqlite { 2 } else { 1 });
        db.close(DEADLINE).await;
    }

    async fn a_batch_changes_all_or_stops_at_the_first_that_fails(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let changed = db
            .run_interaction("batch", |mut txn| async move {
                let ids = (0..100).map(|id| (id, "many"));
                txn.execute_batch("INSERT INTO every (id, words) VALUES ($1, $2)", ids).await
            })
            .await;
        assert_eq!(changed.unwrap(), 100);
        assert_eq!(setting.context.usage().db_txn_count, 1);
        let failed = db
            .run_interaction("batch", |mut txn| async move {
                txn.execute("CREATE UNIQUE INDEX ids ON every (id)", ()).await?;
                let ids = [(200,), (1,), (201,)];
                txn.execute_batch("INSERT INTO every (id) VALUES ($1)", ids).await
            })
            .await;
        assert!(failed.unwrap_err().is_unique_violation());
        let rows = db.query("all", "SELECT id FROM every", ()).await.unwrap();
        assert_eq!(rows.len(), 100);
        let none = db
            .run_interaction("none", |mut txn| async move {
                txn.execute_batch("INSERT INTO every (id) VALUES ($1)", Vec::<(i32,)>::new()).await
            })
            .await;
        assert_eq!(none.unwrap(), 0);
        db.close(DEADLINE).await;
    }

    async fn a_batch_may_be_made_of_what_it_likes_and_is_send(own: Own, setting: Setting<'_>) {
        /// Or else this does not compile.
        fn send<T: Send>(future: T) -> T {
            future
        }
        const INSERT: &str = "INSERT INTO every (words) VALUES ($1)";
        let db = open(&own).await;
        let mine = db.clone();
        let names: Vec<String> = ["alice", "bob"].map(String::from).into();
        let added = send(async move {
            let names = &names;
            let added = mine.run_interaction("add", |mut txn| async move {
                // Borrowed by an iterator that borrows, and from one that stays on its thread.
                let borrowed = names.iter().map(String::as_str).filter(|name| !name.is_empty());
                let mut added = send(txn.execute_batch(INSERT, borrowed.map(|name| (name,)))).await?;
                let local = send({
                    let carol = std::rc::Rc::new("carol".to_owned());
                    let local = std::iter::once(carol).map(|name| (String::clone(&name),));
                    txn.execute_batch(INSERT, local)
                });
                added += local.await?;
                Ok::<_, Error>(added)
            });
            added.await
        });
        // As a service does it: in a task.
        assert_eq!(hold::outcome(hold::run(&setting.context, added)).await.unwrap(), 3);
        let rows = db.query("all", "SELECT words FROM every ORDER BY words", ()).await.unwrap();
        let words: Vec<&str> = rows.iter().map(|row| row.get("words").unwrap()).collect();
        assert_eq!(words, ["alice", "bob", "carol"]);
        db.close(DEADLINE).await;
    }

    async fn a_batch_with_a_value_that_cannot_be_runs_nothing(own: Own, _setting: Setting<'_>) {
        /// One that nobody can store, if it says so.
        struct Perhaps(bool);

        impl Parameters for Perhaps {
            fn bind(self, arguments: &mut Arguments) -> Result<(), sqlx::error::BoxDynError> {
                if self.0 { arguments.add("fine") } else { Err("nobody can store this".into()) }
            }
        }

        let db = open(&own).await;
        let rows = db
            .run_interaction("batch", |mut txn| async move {
                let batch = [Perhaps(true), Perhaps(false), Perhaps(true)];
                let error = txn.execute_batch("INSERT INTO every (words) VALUES ($1)", batch).await.unwrap_err();
                assert!(error.to_string().contains("nobody can store this"), "{error}");
                txn.query("SELECT words FROM every", ()).await
            })
            .await;
        assert!(rows.unwrap().is_empty());
        db.close(DEADLINE).await;
    }

    async fn a_script_is_many_statements(own: Own, _setting: Setting<'_>) {
        let db = open(&own).await;
        db.run_interaction("script", |mut txn| async move {
            txn.execute_script("INSERT INTO every (id) VALUES (1); INSERT INTO every (id) VALUES (2); -- and no more")
                .await
        })
        .await
        .unwrap();
        let failed: Result<(), Error> = db
            .run_interaction("script", |mut txn| async move {
                txn.execute_script("INSERT INTO every (id) VALUES (3); INSERT INTO nowhere VALUES (4)").await
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(db.query("all", "SELECT id FROM every", ()).await.unwrap().len(), 2);
        db.close(DEADLINE).await;
    }

    async fn rows_that_were_fetched_are_counted(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let fetched = || setting.context.usage().counter(&logcontext_db::DB_ROWS_FETCHED);
        let three = "SELECT 1 UNION SELECT 2 UNION SELECT 3";
        db.query("three", three, ()).await.unwrap();
        assert_eq!(fetched(), 3);
        db.query_optional("three", three, ()).await.unwrap();
        assert_eq!(fetched(), 4);
        db.run_interaction("three", |mut txn| async move {
            txn.query(three, ()).await?;
            txn.query_one(three, ()).await
        })
        .await
        .unwrap();
        assert_eq!(fetched(), 8);
        db.close(DEADLINE).await;
    }

    async fn the_drivers_own_connection_is_there_for_the_rest(own: Own, setting: Setting<'_>) {
        let db = open(&own).await;
        let number = db
            .run_interaction("native", |mut txn| async move {
                txn.execute("INSERT INTO every (id) VALUES (1)", ()).await?;
                let sql = "SELECT count(*) FROM every";
                let (number, other) = match txn.backend() {
                    Backend::Sqlite => {
                        let mut native = txn.sqlite()?;
                        let connection = native.sqlite_connection().expect("it is SQLite's");
                        let row = sqlx::query(sql).fetch_one(connection).await;
                        (native.done(row)?.get::<i64, _>(0), txn.postgres().map(drop))
                    }
                    _ => {
                        let mut native = txn.postgres()?;
                        let connection = native.postgres_connection().expect("it is PostgreSQL's");
                        let row = sqlx::query(sql).fetch_one(connection).await;
                        (native.done(row)?.get::<i64, _>(0), txn.sqlite().map(drop))
                    }
                };
                assert!(matches!(other, Err(Error::OtherBackend { .. })), "{other:?}");
                Ok::<_, Error>(number)
            })
            .await;
        assert_eq!(number.unwrap(), 1);
        // Used, and not said how it ended: as if a statement was dropped half-way.
        let ended: Result<(), Error> = db
            .run_interaction("native", |mut txn| async move {
                txn.execute("INSERT INTO every (id) VALUES (2)", ()).await?;
                match txn.backend() {
                    Backend::Sqlite => {
                        txn.sqlite()?.sqlite_connection().unwrap().ping().await.map_err(Error::Database)?;
                    }
                    _ => txn.postgres()?.postgres_connection().unwrap().ping().await.map_err(Error::Database)?,
                }
                Ok(())
            })
            .await;
        assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
        // Not used at all is no harm.
        db.run_interaction("native", |mut txn| async move {
            let _ = txn.sqlite().map(drop);
            let _ = txn.postgres().map(drop);
            txn.query("SELECT 1", ()).await
        })
        .await
        .unwrap();
        assert_eq!(db.query("all", "SELECT id FROM every", ()).await.unwrap().len(), 1);
        assert_eq!(setting.context.usage().db_txn_count, 4);
        db.close(DEADLINE).await;
    }
}

//! What tests ask of a database over and over.

use std::time::Duration;

use logcontext::{Background, LogContext};
use logcontext_db::{Backend, Database, Error, Txn};

use super::outside::Outside;
use super::{Own, hold};

/// A statement that sleeps on the server until it is cancelled, and how its session is found there.
pub(crate) const SLEEP: &str = "SELECT count(*) FROM pg_sleep(600)";
pub(crate) const SLEEPING: &str = "query like '%pg_sleep(600)%' and state = 'active'";

pub(crate) async fn trivial(db: &Database) -> Result<(), Error> {
    db.run_interaction("trivial", |mut txn| async move { txn.query("SELECT 1", ()).await.map(drop) }).await
}

/// How long this context has waited for connections.
pub(crate) fn wait(context: &LogContext) -> Duration {
    context.usage().db_wait().expect("this pool can tell")
}

/// What the server is told comes back, by an interaction.
pub(crate) async fn interaction(db: &Database, value: i64) -> Result<i64, Error> {
    let run = db.run_interaction("echo", |mut txn| async move {
        txn.query_one("SELECT $1::bigint", (value,)).await?.get(0)
    });
    run.await
}

/// The same by a plain statement.
pub(crate) async fn query(db: &Database, value: i64) -> Result<i64, Error> {
    db.query_one("ask", "SELECT $1::bigint", (value,)).await?.get(0)
}

/// Something that sleeps on the server until it is cancelled, seen doing so.
pub(crate) async fn sleeper(
    db: &Database,
    own: &Own,
    context: &LogContext,
) -> Background<Vec<Result<(), Error>>> {
    let before = own.sessions(SLEEPING).await;
    let mine = db.clone();
    let sleeping = hold::run(context, async move { mine.query("sleep", SLEEP, ()).await.map(drop) });
    own.until_sessions(SLEEPING, before + 1).await;
    sleeping
}

/// What another transaction in the way looks like, without one. This one must have begun to write.
pub(crate) async fn conflict(txn: &mut Txn, own: &Own) -> Result<(), Error> {
    if txn.backend() == Backend::Postgres {
        return txn.execute_script("DO $$ BEGIN RAISE 'in the way' USING ERRCODE = '40001'; END $$").await;
    }
    // This transaction has the lock; so the other one, which wants it, gets the error that we want.
    let mut outside = Outside::open(own).await;
    let busy = outside.try_run("BEGIN IMMEDIATE").await;
    outside.close().await;
    txn.sqlite()?.done(busy)
}

//! What an interaction leaves to be done is done on every way out: in the caller's context, in order, once.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use common::asking::conflict;
use common::hold::Hold;
use common::outside::{Outside, polled, until};
use common::{DEADLINE, Own, Setting, on_both_databases};
use logcontext::{FutureExt, LogContext, current_context};
use logcontext_db::{Database, Error, Migration, Txn};
use tokio::sync::oneshot;
use tracing::Level;

const COUNT: &str = "SELECT count(*) FROM users";
const INSERT: &str = "INSERT INTO users VALUES ($1)";

fn table() -> [Migration; 1] {
    [Migration::new(1, "users", "CREATE TABLE users (name TEXT PRIMARY KEY)")]
}

/// One connection to write with: a place that is not given back shows at once.
async fn open(own: &Own) -> Database {
    own.builder()
        .migrations(table())
        .max_connections(1)
        .busy_timeout(Duration::from_millis(1))
        .open()
        .await
        .unwrap()
}

/// What the callbacks did, in which context.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(&'static str, LogContext)>>>);

impl Log {
    fn note(&self, what: &'static str) {
        self.0.lock().unwrap().push((what, current_context()));
    }

    fn leave(&self, txn: &Txn) {
        for what in ["commit 1", "commit 2"] {
            let log = self.clone();
            txn.after_commit(move || log.note(what));
        }
        for what in ["failure 1", "failure 2"] {
            let log = self.clone();
            txn.on_failure(move || log.note(what));
        }
    }

    fn what(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().iter().map(|(what, _)| *what).collect()
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    fn assert_all_in(&self, context: &LogContext) {
        assert!(self.0.lock().unwrap().iter().all(|(_, found)| found == context));
    }
}

const COMMITTED: [&str; 2] = ["commit 1", "commit 2"];
const FAILED: [&str; 2] = ["failure 1", "failure 2"];

/// How the closure ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Commit,
    Error,
    Panic,
    /// In the first try, there is another transaction in its way.
    SecondTry,
    /// In all tries.
    NoTry,
}

/// How far the last try of an interaction has come.
#[derive(Default)]
struct Stage(AtomicU32);

const BEFORE: u32 = 0;
/// The callbacks are there.
const REGISTERED: u32 = 1;
/// The closure has returned: what follows is a commit, or a rollback and perhaps a pause.
const RETURNED: u32 = 2;

impl Stage {
    fn is_now(&self, stage: u32) {
        self.0.store(stage, SeqCst);
    }

    fn get(&self) -> u32 {
        self.0.load(SeqCst)
    }
}

/// One interaction with callbacks of each kind, and statements on both sides of a pause.
async fn interaction(db: &Database, own: &Own, log: &Log, stage: &Stage, end: End) -> Result<(), Error> {
    let tries = &AtomicU32::new(0);
    db.interaction("work")
        .max_tries(3)
        .run(|mut txn| async move {
            // What the try before has left is forgotten by now.
            stage.is_now(BEFORE);
            let first = tries.fetch_add(1, SeqCst) == 0;
            txn.execute(INSERT, ("alice",)).await?;
            log.leave(&txn);
            stage.is_now(REGISTERED);
            tokio::task::yield_now().await;
            txn.execute(INSERT, ("bob",)).await?;
            let result = match end {
                End::SecondTry if first => conflict(&mut txn, own).await,
                End::NoTry => conflict(&mut txn, own).await,
                End::Error => Err(Error::Over),
                End::Commit | End::Panic | End::SecondTry => Ok(()),
            };
            stage.is_now(RETURNED);
            assert_ne!(end, End::Panic, "no");
            result
        })
        .await
}

/// Stops the interaction after each number of polls, until it is done before that. After each, the rows, the
/// callbacks and the counts must tell the same. Again, until it has been stopped at each stage: how far it comes with
/// one poll is up to the database.
async fn stop_everywhere(own: &Own, setting: &Setting<'_>, end: End) {
    let db = open(own).await;
    let mut outside = Outside::open(own).await;
    let mut logs = Vec::new();
    let mut stopped_at = [0; 3];
    for round in 0.. {
        assert!(round < 200, "stopped {stopped_at:?} times before, in and after its closure");
        for n in 0.. {
            let (log, ended) = stop_after(&db, own, &mut outside, setting, n, end, &mut stopped_at).await;
            let expected = log.what().len();
            logs.push((log, expected));
            // The place is free, and the connection in it is fit to write.
            db.execute("clean", "DELETE FROM users", ()).await.unwrap();
            if ended {
                break;
            }
        }
        if stopped_at.iter().all(|times| *times > 0) {
            break;
        }
    }
    for (log, expected) in logs {
        assert_eq!(log.what().len(), expected, "a callback came late");
    }
    outside.close().await;
    assert_eq!(db.close(DEADLINE).await.left_open, 0);
}

async fn stop_after(
    db: &Database,
    own: &Own,
    outside: &mut Outside,
    setting: &Setting<'_>,
    n: usize,
    end: End,
    stopped_at: &mut [u32; 3],
) -> (Log, bool) {
    let (log, stage) = (Log::default(), Stage::default());
    let before = setting.context.usage().db_txn_count;
    let mut running = Box::pin(interaction(db, own, &log, &stage, end));
    let ended = polled(
        n,
        std::future::poll_fn(|cx| match logcontext::catch_panic(|| running.as_mut().poll(cx)) {
            Ok(poll) => poll.map(|_| ()),
            Err(_) => Poll::Ready(()),
        }),
    )
    .await;
    drop(running);
    let stage = stage.get();
    let registered = stage != BEFORE;
    let at = format!("after {n} polls, in stage {stage}");
    if ended.is_none() {
        until("the connection is back", || db.connections_in_use() == 0).await;
        until("the callbacks have run", || !registered || !log.is_empty()).await;
        stopped_at[stage as usize] += 1;
    }
    assert_eq!(db.connections_in_use(), 0, "{at}");
    assert!(db.waiting().is_empty(), "{at}");
    let rows = outside.number(COUNT).await;
    let expected: &[&str] = match rows {
        0 if registered => &FAILED,
        0 => &[],
        2 => &COMMITTED,
        some => panic!("{some} rows {at}"),
    };
    assert_eq!(log.what(), expected, "{at}: {rows} rows");
    log.assert_all_in(&setting.context);
    let counted = setting.context.usage().db_txn_count - before;
    assert!(counted <= 1, "{counted} transactions {at}");
    assert!(counted == 1 || !registered, "not counted {at}");
    // A commit that has begun goes on, whoever waits for it.
    let commits = match end {
        End::Commit => ended.is_some() || stage == RETURNED,
        End::SecondTry => ended.is_some(),
        End::Error | End::Panic | End::NoTry => false,
    };
    assert!(rows == 2 || !commits, "{at}");
    (log, ended.is_some())
}

on_both_databases! {
    async fn stopped_anywhere_on_the_way_to_its_commit(own: Own, setting: Setting<'_>) {
        stop_everywhere(&own, &setting, End::Commit).await;
    }

    async fn stopped_anywhere_on_the_way_to_its_error(own: Own, setting: Setting<'_>) {
        stop_everywhere(&own, &setting, End::Error).await;
    }

    async fn stopped_anywhere_on_the_way_to_its_panic(own: Own, setting: Setting<'_>) {
        stop_everywhere(&own, &setting, End::Panic).await;
    }

    async fn stopped_anywhere_on_the_way_to_its_second_try(own: Own, setting: Setting<'_>) {
        stop_everywhere(&own, &setting, End::SecondTry).await;
    }

    async fn stopped_anywhere_on_the_way_to_its_last_try(own: Own, setting: Setting<'_>) {
        stop_everywhere(&own, &setting, End::NoTry).await;
    }

    async fn stopped_while_it_waits_for_a_connection(own: Own, setting: Setting<'_>) {
        let db = &open(&own).await;
        let log = &Log::default();
        let own = &own;
        let held = Hold::begin(db, &setting.context).await;
        let stage = Stage::default();
        assert!(polled(1, interaction(db, own, log, &stage, End::Commit)).await.is_none());
        assert!(db.waiting().is_empty());
        held.end().await.unwrap();
        assert!(log.is_empty());
        assert_eq!(setting.context.usage().db_txn_count, 1);
        interaction(db, own, log, &Stage::default(), End::Commit).await.unwrap();
        assert_eq!(log.what(), COMMITTED);
        db.close(DEADLINE).await;
    }

    async fn those_of_a_failed_try_are_forgotten(own: Own, setting: Setting<'_>) {
        let db = &open(&own).await;
        let log = &Log::default();
        let own = &own;
        let tries = &AtomicU32::new(0);
        db.run_interaction("work", |mut txn| async move {
            let number = tries.fetch_add(1, SeqCst);
            let names = [("first", "first failed"), ("second", "second failed"), ("third", "third failed")];
            let (committed, failed) = names
                [number as usize];
            let (at_commit, at_failure) = (log.clone(), log.clone());
            txn.after_commit(move || at_commit.note(committed));
            txn.on_failure(move || at_failure.note(failed));
            if number < 2 { conflict(&mut txn, own).await } else { Ok(()) }
        })
        .await
        .unwrap();
        assert_eq!(log.what(), ["third"]);
        log.assert_all_in(&setting.context);
        db.close(DEADLINE).await;
    }

    async fn one_that_panics_is_logged_once_and_keeps_none_from_running(own: Own, setting: Setting<'_>) {
        let db = &open(&own).await;
        let log = &Log::default();
        for commits in [true, false] {
            let before = setting.test.records_at(Level::ERROR).len();
            let ended = db
                .run_interaction("work", |mut txn| async move {
                    txn.execute("DELETE FROM users", ()).await?;
                    for callbacks in 0..3 {
                        let (at_commit, at_failure) = (log.clone(), log.clone());
                        txn.after_commit(move || if callbacks == 1 { panic!("no") } else { at_commit.note("commit") });
                        txn.on_failure(move || if callbacks == 1 { panic!("no") } else { at_failure.note("failure") });
                    }
                    if commits { Ok(()) } else { Err(Error::Over) }
                })
                .await;
            assert_eq!(ended.is_ok(), commits, "its panic is not the transaction's");
            let logged = setting.test.records_at(Level::ERROR).split_off(before);
            assert_eq!(logged.len(), 1, "{logged:?}");
            assert_eq!((logged[0].message.as_str(), &logged[0].context), ("panicked: no", &setting.context));
        }
        assert_eq!(log.what(), ["commit", "commit", "failure", "failure"]);
        db.close(DEADLINE).await;
    }

    async fn one_may_start_another_interaction_in_the_background(own: Own, setting: Setting<'_>) {
        let db = &open(&own).await;
        let (tell, told) = oneshot::channel();
        let tell = &Mutex::new(Some(tell));
        db.run_interaction("work", |mut txn| async move {
            txn.execute(INSERT, ("alice",)).await?;
            let (next, tell) = (db.clone(), tell.lock().unwrap().take().unwrap());
            txn.after_commit(move || {
                logcontext::run_in_background(async move {
                    let changed = next
                        .run_interaction("next", |mut txn| async move { txn.execute(INSERT, ("bob",)).await })
                        .await;
                    tell.send(changed.is_ok()).unwrap();
                });
            });
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
        assert!(told.await.unwrap());
        assert_eq!(setting.context.usage().db_txn_count, 2);
        assert_eq!(Outside::open(&own).await.number(COUNT).await, 2);
        db.close(DEADLINE).await;
    }

    async fn the_callers_context_has_them_even_if_somebody_else_drops_it(own: Own, setting: Setting<'_>) {
        let db = &open(&own).await;
        let log = &Log::default();
        let own = &own;
        // Between two tries, where nothing is left to be ended: they run at once.
        let stage = Stage::default();
        let mut running = Box::pin(interaction(db, own, log, &stage, End::NoTry));
        let retried = || setting.test.records().iter().any(|record| record.message.contains("trying again"));
        let already = setting.test.records().len();
        std::future::poll_fn(|cx| {
            let polled = running.as_mut().poll(cx);
            let told = setting.test.records().split_off(already);
            let pausing = told.iter().any(|record| record.message.contains("trying again"));
            if pausing || polled.is_ready() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(retried());
        let other = LogContext::builder("other").supervisor(setting.test.supervisor()).start();
        other.scope(|| drop(running));
        assert_eq!(log.what(), FAILED);
        log.assert_all_in(&setting.context);
        until("idle", || db.connections_in_use() == 0).await;
        db.close(DEADLINE).await;
    }

    async fn a_request_that_is_over_is_followed_to_the_end(own: Own, setting: Setting<'_>) {
        let db = &open(&own).await;
        let log = &Log::default();
        let stage = Stage::default();
        let request = LogContext::builder("PUT-17").supervisor(setting.test.supervisor()).start();
        let stopped = async {
            let mut running = Box::pin(interaction(db, &own, log, &stage, End::Commit));
            std::future::poll_fn(|cx| {
                let polled = running.as_mut().poll(cx);
                if stage.get() != BEFORE || polled.is_ready() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            current_context().finish();
        };
        stopped.in_context(request.clone()).await;
        until("the callbacks have run", || !log.is_empty()).await;
        assert_eq!(log.what(), FAILED);
        log.assert_all_in(&request);
        until("idle", || db.connections_in_use() == 0).await;
        assert_eq!(request.usage().db_txn_count, 1);
        db.close(DEADLINE).await;
    }
}

/// No runtime any more: the connection is cut, and what was left for this case is done.
#[test]
fn callbacks_run_also_where_nothing_else_can() {
    let test = logcontext::testing::start();
    let own = Own::sqlite();
    let context = LogContext::builder("GET-1").supervisor(test.supervisor()).start();
    for task in [false, true] {
        let runtime = test.current_thread();
        let (log, registered) = (Log::default(), Arc::new(AtomicBool::new(false)));
        let (log, registered) = (&log, &registered);
        let (own, context) = (&own, &context);
        let stop_after_insert = {
            let (log, registered) = (log.clone(), Arc::clone(registered));
            let url = own.url.clone();
            async move {
                let db = Database::builder(url).migrations(table()).open().await.unwrap();
                db.run_interaction("work", |mut txn| {
                    let (log, registered) = (log.clone(), Arc::clone(&registered));
                    async move {
                        txn.execute(INSERT, ("alice",)).await?;
                        log.leave(&txn);
                        registered.store(true, SeqCst);
                        std::future::pending::<Result<(), Error>>().await
                    }
                })
                .await
            }
            .in_context(context.clone())
        };
        if task {
            // Dropped by the runtime, along with whatever it starts at that.
            #[expect(
                clippy::disallowed_methods,
                reason = "a task that the runtime itself drops is what is tested"
            )]
            runtime.spawn(stop_after_insert);
            runtime.block_on(until("registered", || registered.load(SeqCst)));
            drop(runtime);
        } else {
            let mut stopped = Box::pin(stop_after_insert);
            runtime.block_on(std::future::poll_fn(|cx| {
                let _ = stopped.as_mut().poll(cx);
                if registered.load(SeqCst) { Poll::Ready(()) } else { Poll::Pending }
            }));
            drop(runtime);
            drop(stopped);
        }
        assert_eq!(log.what(), FAILED, "as a task: {task}");
        log.assert_all_in(context);
        let runtime = test.current_thread();
        let rows = runtime.block_on(async { Outside::open(own).await.number(COUNT).await });
        assert_eq!(rows, 0);
    }
}

//! All at once: more clients than connections, clients that leave, closures that panic, a server that restarts. At
//! the end everything is as it was, and everything that went wrong has been told once.

mod common;

use std::cell::RefCell;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::figures::Figures;
use common::outside::until;
use common::{DEADLINE, Own};
use logcontext::{Background, FutureExt, LogContext, Lost, Outcome, Supervisor, books, testing};
use logcontext_db::{Backend, Database, Error, Migration};
use logcontext_testservers::Stop;
use tokio::sync::Barrier;
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Level, Subscriber, dispatcher};

const CLIENTS: usize = 200;
const CONNECTIONS: usize = 10;
/// How many requests each client makes at least.
const REQUESTS: u64 = 5;

/// What a client does in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stays,
    /// It goes away at some moment.
    Leaves,
    /// The closure of its last interaction panics.
    Panics,
}

impl Kind {
    fn of(client: usize) -> Self {
        match client % 12 {
            0 | 3 | 6 | 9 => Self::Leaves,
            1 => Self::Panics,
            _ => Self::Stays,
        }
    }
}

fn count_of(kind: Kind) -> usize {
    (0..CLIENTS).filter(|number| Kind::of(*number) == kind).count()
}

/// What became of one.
#[derive(Debug, Default)]
struct Report {
    requests: u64,
    lost: u64,
    left: bool,
}

impl Outcome for Report {}

async fn request(db: &Database, value: i64) -> Result<(), Error> {
    match fastrand::u8(0..5) {
        0 => {
            let row = db.query_one("ask", "SELECT $1", (value,)).await?;
            assert_eq!(row.get::<i64>(0)?, value);
        }
        1 => drop(db.query("some", "SELECT n FROM numbers LIMIT 20", ()).await?),
        2 => drop(db.execute("add", "INSERT INTO numbers VALUES ($1)", (value,)).await?),
        3 => {
            let run = db
                .interaction("read")
                .read_only()
                .run(|mut txn| async move { txn.query_one("SELECT $1", (value,)).await?.get::<i64>(0) });
            assert_eq!(run.await?, value);
        }
        _ => {
            let run = db.run_interaction("change", |mut txn| async move {
                txn.execute("INSERT INTO numbers VALUES ($1)", (value,)).await?;
                txn.query_one("SELECT count(*) FROM numbers WHERE n = $1", (value,)).await?.get::<i64>(0)
            });
            assert!(run.await? > 0);
        }
    }
    Ok(())
}

/// How far the storm is.
#[derive(Debug, Default)]
struct Course {
    stop: AtomicBool,
    /// Requests.
    done: AtomicUsize,
    /// Clients.
    left: AtomicUsize,
}

async fn client(db: Database, number: usize, course: Arc<Course>) -> Report {
    let mut report = Report::default();
    let kind = Kind::of(number);
    let work = async {
        // Who leaves never comes to an end by itself.
        while kind == Kind::Leaves || report.requests < REQUESTS || !course.stop.load(SeqCst) {
            report.requests += 1;
            match request(&db, (number * 1_000_000) as i64 + report.requests as i64).await {
                Ok(()) => {}
                Err(Error::ConnectionLost(_)) => report.lost += 1,
                Err(error) => panic!("{error:?}"),
            }
            course.done.fetch_add(1, SeqCst);
        }
    };
    match kind {
        Kind::Leaves => {
            let leaves = Duration::from_micros(fastrand::u64(0..300_000));
            report.left = tokio::time::timeout(leaves, work).await.is_err();
            course.left.fetch_add(1, SeqCst);
        }
        Kind::Stays => work.await,
        Kind::Panics => {
            work.await;
            let run = db.run_interaction("panic", |mut txn| async move {
                txn.execute("INSERT INTO numbers VALUES (-1)", ()).await?;
                panic!("on purpose");
                #[expect(unreachable_code, reason = "it says what it would answer")]
                Ok::<(), Error>(())
            });
            let _ = run.await;
        }
    }
    report
}

async fn storm(db: &Database, own: &Own, supervisor: &Supervisor, errors: &Errors) {
    let course = Arc::new(Course::default());
    let done = || course.done.load(SeqCst);
    let panics_before = Figures::of(supervisor).value("db_transactions", "outcome=panicked");
    let clients: Vec<(usize, LogContext, Background<Report>)> = (0..CLIENTS)
        .map(|number| {
            let context = supervisor.context(format!("GET-{number}")).start();
            let client = client(db.clone(), number, Arc::clone(&course));
            let running = context.run_in_background(client);
            (number, context, running)
        })
        .collect();
    if own.backend == Backend::Postgres {
        for how in [Stop::Fast, Stop::Immediate] {
            let before = done();
            until("all go on", || done() >= before + 500).await;
            own.server(move |server, _| server.stop(how)).await;
            own.server(|server, _| server.start_again()).await;
        }
    }
    let before = done();
    until("all go on", || done() >= before + 500).await;
    // However fast the others are.
    until("all have left that leave", || course.left.load(SeqCst) == count_of(Kind::Leaves)).await;
    course.stop.store(true, SeqCst);

    let (mut panicked, mut left) = (0, 0);
    for (number, context, running) in clients {
        match running.await {
            Err(Lost::Panicked(message)) => {
                assert_eq!((Kind::of(number), &*message), (Kind::Panics, "on purpose"));
                panicked += 1;
            }
            Err(lost) => panic!("client {number}: {lost}"),
            Ok(report) if report.left => left += 1,
            Ok(report) => {
                assert_eq!(Kind::of(number), Kind::Stays);
                // Each is in the books once, and was lost at most with its server.
                assert_eq!(context.usage().db_txn_count, report.requests, "client {number}: {report:?}");
                assert!(report.lost <= 2, "client {number}: {report:?}");
            }
        }
        context.finish();
    }
    assert_eq!((panicked, left), (count_of(Kind::Panics), count_of(Kind::Leaves)));

    until("all is settled", || db.connections_in_use() == 0 && supervisor.running().len() == 1).await;
    assert!(db.waiting().is_empty());
    let errors = errors.take();
    let panics = errors.iter().filter(|error| error.contains("panicked")).count();
    assert_eq!((panics, errors.len()), (panicked, panicked), "{errors:?}");
    let panics = Figures::of(supervisor).value("db_transactions", "outcome=panicked");
    assert_eq!(panics - panics_before, panicked as f64);
    let none = db.query("panicked", "SELECT n FROM numbers WHERE n < 0", ()).await.unwrap();
    assert!(none.is_empty(), "what panics is rolled back");
    all_connections_at_once(db, own).await;
    if own.backend == Backend::Postgres {
        // And one that cancels, unless the restart has cut it off.
        own.until_sessions("query not like '%pg_cancel_backend%'", CONNECTIONS).await;
        assert!(db.open_connections() <= CONNECTIONS + 1);
    } else {
        assert_eq!(db.open_connections(), CONNECTIONS + 1);
    }
    // Nobody holds on to a client's context.
    until("no context is left", || supervisor.contexts().len() == 1).await;
    let books = books().unwrap();
    assert!(books.discrepancy_percent().abs() < 1.0, "{books}");
}

/// The pool is full: so many can be had, and at the same time.
async fn all_connections_at_once(db: &Database, own: &Own) {
    let all = Arc::new(Barrier::new(CONNECTIONS));
    let reading: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (db, all) = (db.clone(), Arc::clone(&all));
            logcontext::run_in_background(async move {
                let read = db.interaction("together").read_only().run(|mut txn| {
                    let all = Arc::clone(&all);
                    async move {
                        txn.query("SELECT 1", ()).await?;
                        tokio::time::timeout(DEADLINE, all.wait()).await.expect("all have one");
                        Ok::<(), Error>(())
                    }
                });
                read.await
            })
        })
        .collect();
    for reading in reading {
        reading.await.unwrap().unwrap();
    }
    if own.backend == Backend::Sqlite {
        db.execute("one", "INSERT INTO numbers VALUES (0)", ()).await.unwrap();
    }
    assert_eq!(db.connections_in_use(), 0);
}

/// In kilobytes.
fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What is logged at error level. Unlike the test kit's records, it keeps no context alive.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl Errors {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
    fn enter(&self, _: &tracing::Id) {}
    fn exit(&self, _: &tracing::Id) {}
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{field}={value:?} ");
    }
}

thread_local! {
    static DEFAULT: RefCell<Option<dispatcher::DefaultGuard>> = const { RefCell::new(None) };
}

async fn two_storms(own: &Own, supervisor: &Supervisor, errors: &Errors) {
    let table = [Migration::new(1, "numbers", "CREATE TABLE numbers (n BIGINT NOT NULL)")];
    let db = own.builder().max_connections(CONNECTIONS).migrations(table).open().await.unwrap();
    storm(&db, own, supervisor, errors).await;
    let before = memory();
    storm(&db, own, supervisor, errors).await;
    let grown = memory().saturating_sub(before);
    assert!(grown < before / 5, "{grown} KiB more than {before} KiB");
    assert_eq!(db.close(DEADLINE).await.left_open, 0);
    own.is_free().await;
}

fn run(own: impl Fn() -> Own) {
    // One at a time: each looks at the memory of the process.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    common::short_panics();
    for workers in [None, Some(2)] {
        let kit = testing::start();
        let errors = Errors::default();
        let (start, dispatch) = (kit.thread_start(), Dispatch::new(errors.clone()));
        let _default = dispatcher::set_default(&dispatch);
        let mut builder = match workers {
            None => tokio::runtime::Builder::new_current_thread(),
            Some(_) => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder
            .worker_threads(workers.unwrap_or(1))
            .enable_all()
            .on_thread_start(move || {
                start();
                DEFAULT.set(Some(dispatcher::set_default(&dispatch)));
            })
            .on_thread_park(logcontext::expect_sentinel)
            .build()
            .unwrap();
        let context = kit.supervisor().context("storm").start();
        let own = own();
        runtime.block_on(two_storms(&own, kit.supervisor(), &errors).in_context(context));
    }
}

#[test]
fn a_storm_on_sqlite_leaves_everything_as_it_was() {
    run(Own::sqlite);
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_storm_with_restarts_leaves_everything_as_it_was() {
    let server = common::server(&[]);
    run(|| Own::on(&server));
}

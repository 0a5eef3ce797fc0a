//! A service that has all that there is to show: every kind of context, a database, caches, queues, a log.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use logcontext::testing::Test;
use logcontext::{
    ContextKind, Counter, Ending, FutureExt as _, LogContext, background, current_context, measure,
    measure_sync,
};
use logcontext_cache::{CachedLookup, ExpiringCache, KeyedRwLock, Linearizer};
use logcontext_db::{Database, Error};
use logcontext_tracing::{LogGuard, LogTarget};
use tokio::runtime::Runtime;

use super::begin;

static ROWS: Counter = Counter::new("rows_fetched");

const MILLISECOND: Duration = Duration::from_millis(1);

fn costs(more: impl FnOnce(&LogContext)) {
    let context = current_context();
    context.add(&ROWS, 1);
    more(&context);
}

/// What a service has besides its contexts. Holding it keeps its figures.
pub struct Service {
    db: Database,
    lookup: CachedLookup<u64, String, Arc<str>>,
    cache: ExpiringCache<u64, String>,
    rooms: Linearizer<u64>,
    devices: KeyedRwLock<u64>,
    log: LogGuard,
}

impl Service {
    /// Starts it, and has it work a little.
    pub fn run(runtime: &Runtime, test: &Test) -> Self {
        let startup = test.supervisor().context("startup").start();
        let service = runtime.block_on(Self::start().in_context(startup.clone()));
        startup.finish();
        let request = begin(test, ContextKind::Request, "GET /presence/{user}");
        request.set_status(200);
        request.add(&ROWS, 3);
        runtime.block_on(service.serve().in_context(request.clone()));
        request.finish();
        for kind in
            [ContextKind::Request, ContextKind::Background, ContextKind::Connection, ContextKind::Task]
        {
            // One who knows how long it waited for connections, and one who does not.
            let known = begin(test, kind, "known");
            known.scope(|| measure_sync("known", || costs(|context| context.record_db_wait(MILLISECOND))));
            known.finish_as(Ending::Failed);
            let unknown = begin(test, kind, "unknown");
            unknown.scope(|| {
                measure_sync("unknown", || costs(|context| context.record_db_acquire(MILLISECOND)));
            });
            unknown.finish_as(Ending::Cancelled);
        }
        service
    }

    async fn start() -> Self {
        let find = |key: u64| async move { Ok::<_, Arc<str>>(key.to_string()) };
        let (_, log) = logcontext_tracing::builder()
            .target(LogTarget::writer(std::io::sink()).named("sink"))
            .build()
            .expect("a sink can be written to");
        Self {
            db: Database::open("sqlite::memory:").await.expect("there is memory"),
            lookup: CachedLookup::builder("profiles").capacity(10).build(find),
            cache: ExpiringCache::builder("sessions").capacity(10).build(),
            rooms: Linearizer::new("rooms"),
            devices: KeyedRwLock::new("devices"),
            log,
        }
    }

    async fn serve(&self) {
        self.lookup.get(1).await.expect("found");
        self.lookup.get(1).await.expect("found");
        self.cache.insert(1, "alice".to_owned());
        drop(self.rooms.queue(1).await);
        drop(self.devices.read(1).await);
        let answer = self.db.run_interaction("ping", |mut txn| async move {
            txn.query_one("SELECT 1", ()).await?;
            Ok::<_, Error>(())
        });
        answer.await.expect("the database answers");
        measure("render", async { File::open("/dev/null").map(drop).unwrap_or_default() }).await;
        background::run("prune", async {}).await.expect("it ends well");
    }

    /// Ends it.
    pub fn stop(self, runtime: &Runtime, test: &Test) {
        let Self { db, lookup, cache, log, .. } = self;
        drop((lookup, cache));
        let shutdown = test.supervisor().context("shutdown").start();
        runtime.block_on(async { db.close(Duration::from_secs(5)).await }.in_context(shutdown.clone()));
        shutdown.finish();
        drop(log);
    }
}

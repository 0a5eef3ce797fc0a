//! A service that has all that there is to show: every kind of context, a database, caches, queues, a bus, a log.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use logcontext::source::{Buckets, Collector};
use logcontext::testing::Test;
use logcontext::{
    ContextKind, Counter, Ending, FutureExt as _, LogContext, RemoteUsage, Supervisor, background,
    current_context, measure, measure_sync,
};
use logcontext_bus::{Bus, BusConfig, Event, Outbox, Retention, Rpc, Shard};
use logcontext_cache::{CachedLookup, ExpiringCache, KeyedRwLock, Linearizer};
use logcontext_db::{Database, Error};
use logcontext_tracing::{LogGuard, LogTarget};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Runtime;

use super::begin;

static ROWS: Counter = Counter::new("rows_fetched");

const MILLISECOND: Duration = Duration::from_millis(1);

fn costs(more: impl FnOnce(&LogContext)) {
    let context = current_context();
    context.add(&ROWS, 1);
    context.record_remote(&RemoteUsage::call().with_cpu(MILLISECOND).with_db_wait(MILLISECOND));
    more(&context);
}

#[derive(Deserialize, JsonSchema, Serialize)]
struct Changed {}

impl Event for Changed {
    const NAME: &'static str = "changed";
}

#[derive(Deserialize, JsonSchema, Serialize)]
struct Get {}

impl Rpc for Get {
    const NAME: &'static str = "get";
    type Response = ();
    type Error = String;
}

/// What a service has besides its contexts. Holding it keeps its figures.
pub struct Service {
    db: Database,
    lookup: CachedLookup<u64, String, Arc<str>>,
    cache: ExpiringCache<u64, String>,
    rooms: Linearizer<u64>,
    devices: KeyedRwLock<u64>,
    bus: Bus,
    outbox: Outbox,
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
        let config = BusConfig {
            retention: Retention::default().every(MILLISECOND),
            ..BusConfig::new("test", "memory:")
        };
        let bus = Bus::connect(&config).await.expect("there is memory");
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let handler = move |_: Changed| std::future::ready(tell.send(()).map_err(|_| "nobody hears of it"));
        bus.listen::<Changed>("test", handler).start().await.expect("it listens");
        bus.serve(async |_: Get| Ok::<_, String>(())).start().await.expect("it serves");
        bus.shard("test", 1, |shard: Shard| async move { shard.lost().await }).expect("it is split");
        bus.fire(&Changed {}).await.expect("it is fired");
        told.recv().await.expect("it is heard");
        bus.call(Get {}).await.expect("it is answered");
        // Streams are looked after in the background.
        while !Self::shows(&Supervisor::current(), "bus_dead_letters") {
            tokio::time::sleep(MILLISECOND).await;
        }
        let db = Database::open("sqlite::memory:").await.expect("there is memory");
        let outbox = Outbox::open(&bus, &db).await.expect("there is memory");
        while !Self::shows(&Supervisor::current(), "outbox_rows") {
            tokio::time::sleep(MILLISECOND).await;
        }
        Self {
            bus,
            db,
            outbox,
            lookup: CachedLookup::builder("profiles").capacity(10).build(find),
            cache: ExpiringCache::builder("sessions").capacity(10).build(),
            rooms: Linearizer::new("rooms"),
            devices: KeyedRwLock::new("devices"),
            log,
        }
    }

    /// Has a figure of this name a value?
    fn shows(supervisor: &Supervisor, name: &str) -> bool {
        struct Seen<'a>(&'a str, bool);
        impl Collector for Seen<'_> {
            fn value(&mut self, name: &'static str, _: &[(&'static str, &str)], _: f64) {
                self.1 |= name == self.0;
            }
            fn histogram(&mut self, _: &'static str, _: &[(&'static str, &str)], _: &Buckets) {}
        }
        let mut seen = Seen(name, false);
        supervisor.sources().iter().for_each(|source| source.collect(&mut seen));
        seen.1
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
        let Self { db, lookup, cache, bus, outbox, log, .. } = self;
        drop((lookup, cache));
        let shutdown = test.supervisor().context("shutdown").start();
        let ending = async {
            outbox.close(Duration::from_secs(5)).await;
            bus.close(Duration::from_secs(5)).await;
            db.close(Duration::from_secs(5)).await;
        };
        runtime.block_on(ending.in_context(shutdown.clone()));
        shutdown.finish();
        drop(log);
    }
}

//! Processes of a hub, each with a runtime, a store and a bus of its own, over one database and one broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_bus::transport::Memory;
use logcontext_bus::{Bus, BusConfig};
use logcontext_service::config::PositiveTime;
use logcontext_testservers::Redis;
use presence::bus::PresenceChanged;
use presence::federation::{FederationSettings, FollowsChanged, HubName};
use presence::presence::State;
use presence::sender::{self, Sender};
use presence::store::{Limits, Store};
use presence::time::Timestamp;
use presence::user::UserId;
use tokio::runtime::Runtime;

use super::common::{self, Own, PATIENCE};
use super::hub::Hub;

pub(crate) enum Broker {
    Memory(Memory),
    Redis { url: String, prefix: String },
}

pub(crate) struct World {
    pub(crate) kit: Test,
    pub(crate) own: Own,
    pub(crate) broker: Broker,
    pub(crate) settings: FederationSettings,
}

/// A process. Dropped, it is killed.
pub(crate) struct Process {
    pub(crate) store: Arc<Store>,
    pub(crate) bus: Bus,
    pub(crate) sender: Option<Sender>,
    context: LogContext,
    supervisor: Supervisor,
    runtime: Option<Runtime>,
}

pub(crate) fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// Polls, with a bound.
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

impl World {
    pub(crate) fn new(own: Own, hubs: &[(&str, &Hub)]) -> Self {
        let hubs: BTreeMap<_, _> =
            hubs.iter().map(|(name, hub)| ((*name).to_owned(), hub.settings())).collect();
        let settings = FederationSettings {
            hub: "one".to_owned(),
            retry_first: PositiveTime::from_millis(20),
            retry_limit: PositiveTime::from_millis(100),
            timeout: PositiveTime::from_secs(10),
            hubs,
            ..FederationSettings::default()
        };
        let broker = Broker::Memory(Memory::new());
        Self { kit: testing::start(), own, broker, settings }
    }

    pub(crate) fn over_redis(mut self) -> Self {
        let redis = Redis::shared().unwrap();
        self.broker = Broker::Redis { url: redis.url().to_owned(), prefix: redis.fresh_prefix() };
        self
    }

    /// A process that changes presence.
    pub(crate) fn api(&self) -> Process {
        self.start("api", |_| {})
    }

    /// A process that tells other hubs.
    pub(crate) fn sender(&self) -> Process {
        self.start("sender", |process| {
            let sender = sender::start(&process.bus, &process.store, &self.settings, true).unwrap();
            process.sender = Some(sender);
        })
    }

    /// Waits until so many hubs are told of what happens, and none of them has to catch up.
    pub(crate) fn until_live(&self, hubs: i64) {
        let live = "SELECT count(*) FROM destinations WHERE position_at IS NULL";
        until("hubs are told", || self.own.number(live) == hubs);
    }

    fn start(&self, name: &str, begin: impl FnOnce(&mut Process)) -> Process {
        let runtime = common::runtime(&self.kit);
        let supervisor = Supervisor::new(name);
        let context = supervisor.context(name).start();
        let process = async {
            let store = Store::open(&self.own.url.clone().into(), &Limits::default()).await.unwrap();
            let store = Arc::new(store);
            let bus = self.bus();
            let (context, supervisor) = (context.clone(), supervisor.clone());
            let mut process = Process { store, bus, sender: None, context, supervisor, runtime: None };
            begin(&mut process);
            process
        };
        let mut process = runtime.block_on(process.in_context(context.clone()));
        process.runtime = Some(runtime);
        process
    }

    fn bus(&self) -> Bus {
        let config = |url: &str, prefix: &str| BusConfig {
            prefix: prefix.to_owned(),
            claim_after: Duration::from_secs(1),
            ..BusConfig::new("presence", url)
        };
        match &self.broker {
            Broker::Memory(memory) => Bus::over(&config("memory:", "presence"), memory).unwrap(),
            Broker::Redis { url, prefix } => {
                let redis = logcontext_bus::transport::Redis::new(url).unwrap();
                Bus::over(&config(url, prefix), &redis).unwrap()
            }
        }
    }
}

impl Process {
    /// Does this in the process.
    pub(crate) fn run<T>(&self, work: impl Future<Output = T>) -> T {
        let work = work.in_context(self.context.clone());
        let bounded = async { tokio::time::timeout(PATIENCE, work).await.expect("in time") };
        self.runtime.as_ref().unwrap().block_on(bounded)
    }

    /// Sets somebody's presence, and says so; answers the revision.
    pub(crate) fn set(&self, name: &str, state: State) -> i64 {
        let user = user(name);
        self.run(async {
            let now = self.store.set_presence(&user, state, None, Timestamp::now()).await.unwrap();
            let revision = now.revision;
            self.bus.fire(&PresenceChanged::new(user.clone(), now)).await.unwrap();
            revision
        })
    }

    /// Says that somebody's presence is that, without the database.
    pub(crate) fn fire(&self, name: &str, revision: i64) {
        let changed = PresenceChanged {
            user: user(name),
            presence: State::Online,
            status_msg: None,
            last_active: Timestamp::now(),
            revision,
        };
        self.run(async { self.bus.fire(&changed).await }).unwrap();
    }

    /// A hub follows somebody from now on, or no more.
    pub(crate) fn follow(&self, hub: &str, name: &str, follows: bool) {
        let (hub, user): (HubName, _) = (hub.parse().unwrap(), user(name));
        self.run(async {
            if follows {
                self.store.add_follow(&hub, &user).await.unwrap();
            } else {
                self.store.remove_follow(&hub, &user).await.unwrap();
            }
            let changed = FollowsChanged { hub: hub.as_str().to_owned(), user };
            self.bus.fire(&changed).await.unwrap();
        });
    }

    /// How many tasks it has.
    pub(crate) fn tasks(&self) -> usize {
        self.runtime.as_ref().unwrap().metrics().num_alive_tasks()
    }

    /// How many events have not been handled by senders.
    pub(crate) fn unhandled(&self) -> u64 {
        self.run(async {
            let mut unhandled = 0;
            for event in ["presence.changed", "presence.follows_changed"] {
                for group in self.bus.groups(event).await.unwrap_or_default() {
                    if group.starts_with("presence:sender-") {
                        let lag = self.bus.lag(event, &group).await.unwrap();
                        unhandled += lag.unread + lag.pending;
                    }
                }
            }
            unhandled
        })
    }

    /// Waits until so many events have not been handled.
    pub(crate) fn until_unhandled(&self, count: u64) {
        let mut last = 0;
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            last = self.unhandled();
            if last == count {
                return;
            }
        }
        panic!("{last} events are unhandled, expected {count}");
    }

    /// Ends it once it knows of so many hubs.
    pub(crate) fn end_once_it_has(self, world: &World, hubs: i64) {
        until("it knows", || world.own.number("SELECT count(*) FROM destinations") == hubs);
        self.end();
    }

    /// Ends it in order.
    pub(crate) fn end(mut self) {
        self.run(async {
            if let Some(sender) = &self.sender {
                sender.close(PATIENCE).await;
            }
            self.bus.close(PATIENCE).await;
            self.supervisor.shutdown(PATIENCE).await;
            assert_eq!(self.store.close(PATIENCE).await.left_open, 0);
        });
        self.context.finish();
        drop(self.runtime.take());
    }

    /// Kills it: nothing of it runs any more when this is back.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(PATIENCE);
        }
    }
}

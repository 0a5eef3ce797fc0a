//! Work that is split into numbered shards, each held by one process at a time: [`Bus::shard`].
//!
//! Two futures share the work. [Rounds](rounds) count who takes part, take shards up to this process's share, and give back
//! what is beyond it. Each [hold](hold) owns one lease: it renews it, runs the user's future by it, and lets go of it when
//! that has ended. So nothing that the broker delays can keep a hold from noticing that its lease is over.

mod figures;
mod hold;
mod rounds;

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use logcontext::source::Source;
use logcontext::{Outcome, background};
use tokio_util::sync::CancellationToken;

use crate::bus::Bus;
use crate::error::ShardError;
use crate::name;
use figures::Figures;
use rounds::Rounds;

/// More shards than this are no shards but items.
const MOST: u16 = 1024;

impl Bus {
    /// Splits work into `count` numbered shards: of all processes of this service that split the same work, each shard is
    /// held by one at a time, and they share them evenly, rounded up. For each shard that is held here, `run` is run, as a
    /// background process of its own (`sender-3-17`: shard 3 of `sender`).
    ///
    /// A shard is held by a lease: when its process dies, another takes it over once the lease is over
    /// ([`claim_after`](crate::BusConfig::claim_after)). [`Shard::lost`] says when the work is to end, since another
    /// process is to have the shard, or the service shuts down; until it has ended the shard is kept. Who could not renew
    /// its lease in time, as the broker was away, is told a sixth of that time before it is over, and dropped when it is:
    /// what the work does is done by one process at a time as long as clocks run alike. What it asks of others may arrive
    /// later.
    ///
    /// A run that ends by itself lets go of its shard; whoever takes it next runs it again, not before a third of a lease.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use logcontext_bus::transport::Memory;
    /// use logcontext_bus::{Bus, BusConfig, Shard};
    ///
    /// let bus = Bus::over(&BusConfig::new("presence", "memory:"), &Memory::new())?;
    /// let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    /// let sharding = bus.shard("sender", 4, move |shard: Shard| {
    ///     let tell = tell.clone();
    ///     async move {
    ///         let _ = tell.send(shard.number());
    ///         shard.lost().await;
    ///     }
    /// })?;
    /// let mut held = Vec::new();
    /// while held.len() < 4 {
    ///     held.push(told.recv().await.unwrap());
    /// }
    /// held.sort_unstable();
    /// assert_eq!(held, [0, 1, 2, 3]);
    /// sharding.stop();
    /// sharding.stopped().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// If the name is none, or is taken by other work of this bus; if there are no shards or more than 1024; if the bus is
    /// closed or its service shuts down.
    #[track_caller]
    pub fn shard<F, Fut>(&self, name: &str, count: u16, run: F) -> Result<Sharding, ShardError>
    where
        F: Fn(Shard) -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Outcome + Send + 'static,
    {
        name::check("shards", name)?;
        if !(1..=MOST).contains(&count) {
            return Err(ShardError::Count(count));
        }
        let inner = self.inner();
        if inner.closing.is_cancelled() {
            return Err(ShardError::Closed);
        }
        if inner.supervisor.is_shutting_down() {
            return Err(ShardError::ShuttingDown);
        }
        let work: Arc<str> = name.into();
        let taken =
            inner.shardings.take("shards", &work).ok_or_else(|| ShardError::Taken(name.to_owned()))?;
        let figures = Arc::new(Figures::new(&inner.config.service, name));
        let source: Arc<dyn Source> = figures.clone();
        inner.supervisor.register(&source);
        let sharding = Sharding {
            name: Arc::clone(&work),
            figures: Arc::clone(&figures),
            stop: CancellationToken::new(),
            stopped: CancellationToken::new(),
        };
        let origin = Location::caller();
        let process = |name: String| background::process(&inner.supervisor, &name).origin(origin);
        let rounds = Rounds {
            inner: Arc::clone(inner),
            // No name has a colon in it.
            lease: format!("shards {}:{name}", inner.config.service),
            shards: (0..count).map(|number| process(format!("{name}-{number}"))).collect(),
            run,
            figures,
            stop: sharding.stop.clone(),
        };
        let (running, stopped) = (inner.listeners_running.begin(), sharding.stopped.clone().drop_guard());
        let _entered = inner.runtime.enter();
        drop(process(format!("{name}-shards")).run(|context| context.call_depth(0), async move {
            rounds.run().await;
            // Who hears of its end may use the name again.
            drop((taken, running));
            drop(stopped);
        }));
        Ok(sharding)
    }
}

/// A shard that is held here: see [`Bus::shard`].
#[derive(Clone, Debug)]
pub struct Shard {
    number: u16,
    count: u16,
    lost: CancellationToken,
}

impl Shard {
    /// Which: from 0 on.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Completes when the work is to end: another process is to have the shard, or the service shuts down.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Has it?
    pub fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }
}

/// Work that is split: see [`Bus::shard`]. It goes on when this is dropped, until the service shuts down.
#[derive(Clone)]
pub struct Sharding {
    name: Arc<str>,
    figures: Arc<Figures>,
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl Sharding {
    /// How many shards are held here now.
    pub fn held(&self) -> usize {
        self.figures.held()
    }

    /// Tells it to let go of all shards: each as soon as its work has ended.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Completes when it has, and nothing of it runs any more.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

impl fmt::Debug for Sharding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharding")
            .field("name", &self.name)
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

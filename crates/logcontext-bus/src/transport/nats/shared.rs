//! What all parts of one transport have in common.

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_nats::Message;
use logcontext::{ContextKind, FutureExt as _, LogContext, Supervisor};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::Served;
use super::clock::Clock;
use super::failure::Failure;
use super::gate::{self, Gate, Kind};
use super::leftovers::Leftovers;
use super::names::Names;
use super::receipts::Receipts;
use super::under_way::UnderWay;
use super::url::Address;
use super::wire::{Ask, Wire};
use crate::transport::{Inbox, Link};

/// What all parts of one transport have in common.
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) identity: Arc<str>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) names: Names,
    pub(super) gate: Gate,
    /// Is there a connection? If not, why.
    pub(super) connected: watch::Sender<Result<Arc<Wire>, Arc<str>>>,
    /// How many are open
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) reconnects: AtomicU64,
    pub(super) under_way: UnderWay,
    pub(super) leftovers: Leftovers,
    pub(super) receipts: Receipts,
    pub(super) clock: Mutex<Option<Clock>>,
    /// What is being served, and stopped when the transport is closed
    served: Mutex<Vec<Weak<Served>>>,
    /// Calls whose cancellations are heard of
    pub(super) heard: tokio::sync::Mutex<Vec<Arc<str>>>,
    /// All tasks end.
    pub(super) end: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) runtime: Handle,
    pub(super) supervisor: Supervisor,
}

impl Shared {
    pub(super) fn new(address: Address, link: Link, runtime: Handle) -> Self {
        let Link { config, identity, inbox, supervisor } = link;
        Self {
            address,
            identity,
            inbox,
            names: Names::new(&config.prefix),
            gate: Gate::new(config.queue),
            connected: watch::Sender::new(Err("not connected yet".into())),
            connections: Arc::default(),
            reconnects: 0.into(),
            under_way: UnderWay::default(),
            leftovers: Leftovers::default(),
            receipts: Receipts::default(),
            clock: Mutex::default(),
            served: Mutex::default(),
            heard: tokio::sync::Mutex::default(),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime,
            supervisor,
        }
    }

    /// A connection, once there is one.
    pub(super) async fn wire(&self) -> Result<Arc<Wire>, Failure> {
        let mut connected = self.connected.subscribe();
        let is_there = |wire: &Result<Arc<Wire>, _>| wire.as_ref().is_ok_and(|wire| !wire.is_gone());
        tokio::select! {
            biased;
            () = self.end.cancelled() => Err(Failure::Closed),
            found = connected.wait_for(is_there) => match found {
                Ok(found) => found.clone().map_err(Failure::Lost),
                Err(_) => Err(Failure::Closed),
            },
        }
    }

    /// Waits in line until there is a connection. Until what is returned is dropped, the transport is not done.
    ///
    /// # Errors
    /// If nothing more is taken.
    pub(super) async fn enter(&self, kind: Kind) -> Result<gate::UnderWay, Failure> {
        self.enter_with_wire(kind).await.map(|(under_way, _)| under_way)
    }

    /// The same, with the connection. Who sends by that one alone never waits for another without a place in line.
    pub(super) async fn enter_with_wire(&self, kind: Kind) -> Result<(gate::UnderWay, Arc<Wire>), Failure> {
        let place = self.gate.enter(kind).await?;
        let wire = self.wire().await?;
        Ok((place.leave(), wire))
    }

    /// Asks until the broker has answered: twice is as good as once.
    pub(super) async fn settle(&self, ask: &Ask) -> Result<Message, Failure> {
        let _under_way = self.enter(Kind::Upkeep).await?;
        self.ask_again(ask).await
    }

    async fn ask_again(&self, ask: &Ask) -> Result<Message, Failure> {
        loop {
            match self.ask(ask).await {
                Err(Failure::Lost(_)) => {}
                answer => return answer,
            }
        }
    }

    /// Asks once, from wherever a place is held already.
    pub(super) async fn ask(&self, ask: &Ask) -> Result<Message, Failure> {
        let wire = self.wire().await?;
        self.ask_by(&wire, ask).await
    }

    pub(super) async fn ask_by(&self, wire: &Wire, ask: &Ask) -> Result<Message, Failure> {
        tokio::select! {
            biased;
            answer = wire.ask(ask) => answer,
            () = self.end.cancelled() => Err(Failure::Closed),
        }
    }

    /// To be stopped when the transport is closed.
    pub(super) fn remember(&self, served: &Arc<Served>) {
        let mut all = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(served));
    }

    pub(super) fn take_served(&self) -> Vec<Arc<Served>> {
        let mut all = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        all.drain(..).filter_map(|served| served.upgrade()).collect()
    }

    /// Starts a task that runs until it is done, or the transport ends. It has a context of its own, and is none of those
    /// that a shutdown ends: handlers that drain need it to the last.
    pub(super) fn spawn(
        &self,
        name: &str,
        end: CancellationToken,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let context = LogContext::builder(format!("{name}-{:08x}", fastrand::u32(..)))
            .kind(ContextKind::Background)
            .supervisor(&self.supervisor)
            .label(name)
            .start();
        let inner = context.clone();
        let task = async move {
            end.run_until_cancelled(task.in_context(inner)).await;
            context.finish();
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "in a context of its own, and ended with the transport"
        )]
        self.runtime.spawn(self.tasks.track_future(task.following(LogContext::sentinel())));
    }
}

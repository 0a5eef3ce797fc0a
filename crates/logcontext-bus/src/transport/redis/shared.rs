//! What all parts of one transport have in common.

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use logcontext::{ContextKind, FutureExt as _, LogContext, Supervisor};
use redis::ConnectionInfo;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::calls::Served;
use super::keys::Keys;
use super::queues::Queues;
use crate::transport::{Inbox, Link};

/// What all parts of one transport have in common.
pub(super) struct Shared {
    pub(super) address: ConnectionInfo,
    pub(super) identity: Arc<str>,
    pub(super) inbox: Arc<Inbox>,
    pub(super) keys: Keys,
    pub(super) queues: Queues,
    /// Is there a connection for commands? If not, why.
    pub(super) connected: watch::Sender<Result<(), Arc<str>>>,
    /// How many are open
    pub(super) connections: Arc<AtomicUsize>,
    pub(super) reconnects: AtomicU64,
    /// What is being served, and stopped when the transport is closed
    served: Mutex<Vec<Weak<Served>>>,
    /// All tasks end.
    pub(super) end: CancellationToken,
    pub(super) tasks: TaskTracker,
    pub(super) runtime: Handle,
    pub(super) supervisor: Supervisor,
}

impl Shared {
    pub(super) fn new(address: ConnectionInfo, link: Link, queues: Queues, runtime: Handle) -> Self {
        let Link { config, identity, inbox, supervisor } = link;
        Self {
            address,
            identity,
            inbox,
            keys: Keys::new(&config.prefix),
            queues,
            connected: watch::Sender::new(Err("not connected yet".into())),
            connections: Arc::default(),
            reconnects: 0.into(),
            served: Mutex::default(),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
            runtime,
            supervisor,
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

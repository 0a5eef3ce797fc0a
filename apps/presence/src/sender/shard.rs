//! One shard that is held here: its destinations, and the events that come for them.

use std::sync::Arc;
use std::time::Duration;

use logcontext_bus::{Bus, Listen, ListenError, Listener, OnError, Retry};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::destination::{Destination, ShardEnd};
use super::handlers::Handlers;
use super::loading::load;
use super::persistently::Stopped;
use super::shared::Shared;
use super::transaction::Peer;
use crate::bus::PresenceChanged;
use crate::federation::FollowsChanged;

/// So many events of a shard are handled at once: each waits for its destinations.
const SLOTS: usize = 1_000;

/// How long a shard that is to be let go of still sends what waits.
const GRACE: Duration = Duration::from_secs(2);

/// The pause before a listener that could not be started is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A destination as the settings have it: the hub, and whether it is told of everybody.
pub(super) type Wanted = (Peer, bool);

/// Sees to a shard until it is lost. Dropped, it sends nothing more.
pub(super) async fn hold(
    shared: Arc<Shared>,
    bus: Bus,
    number: u16,
    wanted: Vec<Wanted>,
    lost: impl Future<Output = ()>,
) {
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    let end = ShardEnd { stop, changed: Arc::new(Notify::new()) };
    let handlers = Arc::new(Handlers::new(&shared, &end));
    tokio::pin!(lost);
    let begun = tokio::select! {
        biased;
        () = &mut lost => return,
        begun = begin(&shared, &bus, number, wanted, &handlers, &end) => begun,
    };
    let Ok(Begun { destinations, listening }) = begun else { return };
    tokio::select! {
        () = &mut lost => {}
        () = try_again(&destinations, &end) => {}
    }
    // What has come is sent if that does not take long. What is not is the next one's.
    listening.stop();
    let _ = timeout(GRACE, none_runs(&destinations, &end)).await;
    end.stop.cancel();
    none_runs(&destinations, &end).await;
    destinations.iter().for_each(|destination| destination.abandon());
    listening.stopped().await;
}

struct Begun {
    destinations: Vec<Arc<Destination>>,
    listening: Listening,
}

/// It is listened before anything is read: what happens after the reading comes as an event, whose handler waits for the end
/// of the reading.
async fn begin(
    shared: &Arc<Shared>,
    bus: &Bus,
    number: u16,
    wanted: Vec<Wanted>,
    handlers: &Arc<Handlers>,
    end: &ShardEnd,
) -> Result<Begun, Stopped> {
    let listening =
        if wanted.is_empty() { Listening::default() } else { listen(bus, number, handlers).await };
    let (destinations, follows) = load(shared, number, wanted, end).await?;
    shared.figures.look_at(&destinations);
    handlers.begin(destinations.clone(), follows);
    Ok(Begun { destinations, listening })
}

/// Both listeners, however long the broker is away.
async fn listen(bus: &Bus, number: u16, handlers: &Arc<Handlers>) -> Listening {
    let name = &format!("sender-{number}");
    let mut listening = Listening::default();
    let of_presence = || {
        let handlers = Arc::clone(handlers);
        move |changed: PresenceChanged| {
            let handlers = Arc::clone(&handlers);
            async move { handlers.presence_changed(changed).await }
        }
    };
    let of_follows = || {
        let handlers = Arc::clone(handlers);
        move |changed: FollowsChanged| {
            let handlers = Arc::clone(&handlers);
            async move { handlers.follows_changed(changed).await }
        }
    };
    let presence = || rules(bus.listen(name, of_presence())).called("replication-PresenceChanged");
    let follows = || rules(bus.listen(name, of_follows())).called("replication-FollowsChanged");
    listening.0.push(started(presence).await);
    listening.0.push(started(follows).await);
    listening
}

/// What has failed is tried again until the shard is another's: nothing is lost, and nothing is a dead letter because a
/// database was away.
fn rules(listen: Listen) -> Listen {
    let retry = Retry::times(u32::MAX).backoff(Duration::from_millis(100), Duration::from_secs(5));
    listen.slots(SLOTS).retry(retry).on_error(OnError::StopListener).max_deliveries(u32::MAX)
}

async fn started(listen: impl Fn() -> Listen) -> Listener {
    loop {
        match listen().start().await {
            Ok(listener) => return listener,
            Err(ListenError::Closed | ListenError::ShuttingDown) => std::future::pending().await,
            Err(error) => tracing::warn!(%error, "the sender cannot listen: trying again"),
        }
        sleep(PAUSE).await;
    }
}

/// Tries those again that are behind, each when it is its time: one timer for all of them.
async fn try_again(destinations: &[Arc<Destination>], end: &ShardEnd) {
    loop {
        let now = Instant::now();
        destinations.iter().for_each(|destination| destination.try_again(now));
        let due = destinations.iter().filter_map(|destination| destination.due()).min();
        let waiting = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = waiting => {}
            () = end.changed.notified() => {}
        }
    }
}

/// Completes when nothing is being sent.
async fn none_runs(destinations: &[Arc<Destination>], end: &ShardEnd) {
    while destinations.iter().any(|destination| destination.is_running()) {
        end.changed.notified().await;
    }
}

/// The listeners of a shard. Dropped, they take no more.
#[derive(Default)]
struct Listening(Vec<Listener>);

impl Listening {
    fn stop(&self) {
        self.0.iter().for_each(Listener::stop);
    }

    async fn stopped(&self) {
        for listener in &self.0 {
            listener.stopped().await;
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop();
    }
}

//! Looking after streams: forgetting what everybody has, and saying so before anything else is forgotten.

mod behind;

use std::sync::{Arc, Mutex, PoisonError, Weak};

use logcontext::source::Source;
use logcontext::{Background, background};
use rustc_hash::FxHashMap;

use crate::bus::Inner;
use crate::config::Retention;
use crate::own_group;
use crate::transport::{Lease, TransportError, Trimmed};
use behind::Behind;

/// Trims the streams of the events that a bus fires or listens to. Of all buses that do, one does it for each event.
#[derive(Debug)]
pub(crate) struct Upkeep {
    state: Mutex<State>,
    behind: Arc<Behind>,
}

#[derive(Debug, Default)]
struct State {
    events: Vec<&'static str>,
    rounds: Option<Background<()>>,
}

impl Upkeep {
    pub(crate) fn new(bus: &str) -> Self {
        Self { state: Mutex::default(), behind: Arc::new(Behind::new(bus)) }
    }

    pub(crate) fn figures(&self) -> Arc<dyn Source> {
        Arc::clone(&self.behind) as _
    }

    /// Looks after this event from now on.
    pub(crate) fn look_after(&self, inner: &Arc<Inner>, event: &'static str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.events.contains(&event) {
            state.events.push(event);
        }
        state.rounds.get_or_insert_with(|| begin(inner));
    }

    fn events(&self) -> Vec<&'static str> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).events.clone()
    }
}

impl Drop for Upkeep {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(rounds) = &state.rounds {
            rounds.abort();
        }
    }
}

fn begin(inner: &Arc<Inner>) -> Background<()> {
    let (bus, turns) = (Arc::downgrade(inner), Arc::default());
    let _entered = inner.runtime.enter();
    // Where it is started from says nothing of whom it is for.
    inner.supervisor.context("bus").start().scope(|| {
        background::every("trim_events", inner.config.retention.every)
            .run(move || round(Weak::clone(&bus), Arc::clone(&turns)))
    })
}

/// What is known of each event from the round before.
type Turns = Arc<tokio::sync::Mutex<FxHashMap<&'static str, Turn>>>;

#[derive(Default)]
struct Turn {
    lease: Option<Arc<dyn Lease>>,
    is_nearly_full: bool,
}

async fn round(bus: Weak<Inner>, turns: Turns) {
    let Some(inner) = bus.upgrade() else { return };
    let supervisor = inner.supervisor.clone();
    let rounds = async {
        // Rounds do not overlap: nobody else has it.
        let mut turns = turns.lock().await;
        for event in inner.upkeep.events() {
            if inner.transport.status().connected.is_err() {
                return;
            }
            if let Err(error) = look_after(&inner, event, turns.entry(event).or_default()).await
                && error != TransportError::Closed
            {
                tracing::warn!(target: "logcontext::bus", event, %error, "its stream was not trimmed");
            }
        }
    };
    tokio::select! {
        biased;
        () = supervisor.shutting_down() => {}
        () = rounds => {}
    }
}

async fn look_after(inner: &Inner, event: &'static str, turn: &mut Turn) -> Result<(), TransportError> {
    let retention = inner.config.retention;
    let is_ours = match &turn.lease {
        Some(lease) => lease.renew().await?,
        None => false,
    };
    if !is_ours {
        // Long enough to be renewed in the next round.
        let time = retention.every * 2;
        turn.lease = inner.transport.leases().acquire(&format!("trim {event}"), time).await?;
    }
    if turn.lease.is_none() {
        turn.is_nearly_full = false;
        inner.upkeep.behind.forget(event);
        return Ok(());
    }
    let groups = inner.transport.log().groups(event).await?;
    own_group::forget_ownerless(inner, event, groups).await?;
    let mut trimmed = inner.transport.log().trim(event, retention).await?;
    if trimmed.behind.is_empty() && !turn.is_nearly_full && is_nearly_full(retention, &trimmed) {
        trimmed.behind = behind(inner, event).await?;
    }
    tell(event, retention, &trimmed, &mut turn.is_nearly_full);
    inner.upkeep.behind.look(inner, event).await
}

/// Four fifths of all that is ever kept; what is kept to be looked at fills nothing up.
fn is_nearly_full(retention: Retention, trimmed: &Trimmed) -> bool {
    trimmed.kept >= (retention.cap as u64).saturating_mul(4) / 5 && trimmed.kept > retention.history as u64
}

/// The groups that have not done everything.
async fn behind(inner: &Inner, event: &str) -> Result<Vec<String>, TransportError> {
    let log = inner.transport.log();
    let mut behind = Vec::new();
    for group in log.groups(event).await? {
        let lag = log.lag(event, &group).await?;
        if lag.unread + lag.pending > 0 {
            behind.push(group);
        }
    }
    Ok(behind)
}

/// Says what is about to be lost, once each time it gets so far; and what was lost.
fn tell(event: &str, retention: Retention, trimmed: &Trimmed, is_nearly_full: &mut bool) {
    let Trimmed { kept, lost, behind } = trimmed;
    let behind = behind.join(", ");
    let cap = retention.cap;
    if *lost > 0 {
        tracing::error!(
            target: "logcontext::bus",
            event, lost, kept, cap, behind,
            "events were dropped that not all groups had: more than are ever kept",
        );
    }
    let is_full = self::is_nearly_full(retention, trimmed);
    if is_full && !*is_nearly_full && *lost == 0 {
        tracing::warn!(
            target: "logcontext::bus",
            event, kept, cap, behind,
            "a group is behind: its events will be dropped when there are more than are ever kept",
        );
    }
    *is_nearly_full = is_full;
}

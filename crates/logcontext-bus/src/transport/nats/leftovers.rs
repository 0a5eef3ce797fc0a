//! What is still to be told to the broker when whoever wanted it has gone.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::clock::FRESH;
use super::shared::Shared;
use super::wire::{Ask, Wire};
use super::{failure::Failure, js};
use crate::transport::Lane;

/// More than this are not kept: what is left then goes away by itself, later.
const MOST: usize = 10_000;

/// What is still to be told to the broker when whoever wanted it has gone.
#[derive(Default)]
pub(super) struct Leftovers {
    state: Mutex<State>,
    some: Notify,
}

#[derive(Default)]
struct State {
    /// Calls that nobody waits for any more
    calls: Vec<u64>,
    /// Calls that nobody serves
    unserved: Vec<u64>,
    asks: Vec<Ask>,
}

impl Leftovers {
    /// Nobody waits for this call any more.
    pub(super) fn forget(&self, call: u64) {
        self.put(|state| state.calls.push(call));
    }

    /// Nobody serves this call: its caller is told once it is where nobody can find it any more.
    pub(super) fn unserved(&self, call: u64) {
        self.put(|state| state.unserved.push(call));
    }

    /// To be asked once; the answer is for nobody.
    pub(super) fn ask(&self, ask: Ask) {
        self.put(|state| {
            if state.asks.len() < MOST {
                state.asks.push(ask);
            }
        });
    }

    fn put(&self, put: impl FnOnce(&mut State)) {
        put(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.some.notify_one();
    }

    fn take(&self) -> State {
        std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells it as long as the transport lives, and looks at the broker's clock now and then.
pub(super) async fn keep_telling(shared: std::sync::Arc<Shared>) {
    loop {
        let some = tokio::time::timeout(FRESH, shared.leftovers.some.notified()).await;
        let Ok(wire) = shared.wire().await else { return };
        if some.is_err() {
            // As it was known before it is not much worse.
            let _ = shared.look_at_clock(&wire).await;
        }
        // What is lost with its connection is of no use to the next one.
        let _ = tell(&shared, &wire).await;
    }
}

/// Tells all that is there. The broker has it when this returns.
pub(super) async fn tell(shared: &Shared, wire: &Wire) -> Result<(), Failure> {
    let State { calls, unserved, asks } = shared.leftovers.take();
    for call in calls {
        // Answered already, or not sent yet.
        let Some((rpc, lane)) = shared.under_way.end(call) else { continue };
        let caller = super::calls::caller(&shared.identity, call);
        wire.tell(shared.names.cancelled(rpc), caller).await?;
        take_back(shared, wire, rpc, lane, call).await?;
    }
    for call in unserved {
        let Some((rpc, lane)) = shared.under_way.get(call) else { continue };
        match take_back(shared, wire, rpc, lane, call).await {
            // Somebody has it, and has stopped since.
            Ok(false) => {}
            Ok(true) => {
                if shared.under_way.end(call).is_some() {
                    shared.inbox.unserved(call);
                }
            }
            // It is told by whoever closes the connection.
            Err(failure) => return Err(failure),
        }
    }
    for ask in asks {
        wire.ask(&ask).await?;
    }
    Ok(())
}

/// Forgets a call that nobody has read yet. Answers whether there was one.
async fn take_back(shared: &Shared, wire: &Wire, rpc: &str, lane: Lane, call: u64) -> Result<bool, Failure> {
    let stream = shared.names.calls(rpc, lane);
    let filter = shared.names.call(rpc, lane, &shared.identity, call);
    let answer = wire.ask(&js::purge(&stream, Some(&filter), None)).await;
    match answer.and_then(|answer| js::read::<js::Purged>(&answer)) {
        Ok(purged) => Ok(purged.purged > 0),
        // With the last of those who served it.
        Err(failure) if failure.is_absence() => Ok(true),
        Err(failure @ Failure::Lost(_)) => Err(failure),
        Err(_) => Ok(false),
    }
}

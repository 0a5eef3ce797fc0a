//! The process that sends to one hub: it runs while there is something to send.

use std::sync::Arc;

use logcontext::background;
use tokio::time::Instant;

use super::super::persistently::Stopped;
use super::super::transaction::Sent;
use super::standing::State;
use super::{Destination, Standing};

/// The process of a destination. However it ends, the destination learns of it.
pub(super) struct Running {
    pub(super) destination: Arc<Destination>,
    /// The destination knows that it has ended.
    is_over: bool,
}

impl Destination {
    /// Tries again to tell a hub that has to catch up, if it is time.
    pub(in crate::sender) fn try_again(self: &Arc<Self>, now: Instant) {
        let mut state = self.lock();
        if matches!(state.standing, Standing::Waiting { due, .. } if due <= now) && !state.is_running {
            state.is_running = true;
            drop(state);
            self.start();
        }
    }

    /// Starts the process; the caller has said that it runs.
    pub(super) fn start(self: &Arc<Self>) {
        let name = format!("transaction_transmission-{}", self.hub());
        let process = background::process(&self.shared.supervisor, &name);
        let mut running = Running { destination: Arc::clone(self), is_over: false };
        let stop = self.shard.stop.clone();
        let work = async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                // That it was stopped is no failure.
                _ = running.transmit() => {}
            }
        };
        drop(process.run(|context| context.call_depth(0), work));
    }
}

impl Running {
    /// Sends until nothing waits, or the hub cannot be told.
    async fn transmit(&mut self) -> Result<(), Stopped> {
        let destination = Arc::clone(&self.destination);
        if destination.lock().standing.position().is_some() && !self.catch_up().await? {
            return Ok(());
        }
        loop {
            let Some(states) = destination.lock().next(self) else { return Ok(()) };
            match destination.peer.send(&destination.shared, &states).await {
                Sent::Done => destination.lock().queue.delivered(),
                Sent::Failed { why, asked } => {
                    destination.lock().queue.failed();
                    return self.fall_behind(None, 1, &why, asked).await;
                }
            }
        }
    }

    /// It has ended. Said under the lock: who comes next has to start another.
    pub(super) fn over(&mut self, state: &mut State) {
        state.is_running = false;
        self.is_over = true;
    }
}

impl State {
    /// The next transaction; `None` and the end if nothing waits.
    fn next(&mut self, running: &mut Running) -> Option<Vec<Arc<super::super::outgoing::Outgoing>>> {
        let states = self.queue.begin();
        if states.is_none() {
            running.over(self);
        }
        states
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let destination = &self.destination;
        if !self.is_over {
            // Stopped half-way: nobody sees to what waits any more.
            let mut state = destination.lock();
            state.queue.abandon();
            state.is_running = false;
        }
        destination.shard.changed.notify_one();
    }
}

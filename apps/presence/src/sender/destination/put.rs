//! A state that comes.

use std::sync::Arc;

use super::super::outgoing::Outgoing;
use super::super::persistently::{Stopped, persistently};
use super::super::receipt::Receipt;
use super::{Destination, Standing};
use crate::store::Position;

impl Destination {
    /// Sees to a state: queues it, or makes sure that the hub will catch up with it.
    ///
    /// # Errors
    /// If the shard is not ours any more.
    pub(in crate::sender) async fn put(
        self: &Arc<Self>,
        state: &Arc<Outgoing>,
        receipt: Receipt,
    ) -> Result<(), Stopped> {
        let Some(receipt) = self.put_now(state, receipt) else { return Ok(()) };
        // It may have changed before the position: an event that was on its way for long, or a presence that has timed out.
        let _changing = self.changing.lock().await;
        let Some(receipt) = self.put_now(state, receipt) else { return Ok(()) };
        let store = &self.shared.store;
        let users = std::slice::from_ref(&state.user);
        let changed_at = persistently(&self.shard.stop, || store.first_changed(users)).await?;
        let position = self.lock().standing.position().cloned();
        if let (Some(changed_at), Some(position)) = (changed_at, position)
            && !position.is_before(changed_at)
        {
            let earlier = Position::before(changed_at);
            persistently(&self.shard.stop, || store.move_position(self.hub(), &earlier)).await?;
            if let Standing::Waiting { position, .. } = &mut self.lock().standing {
                *position = earlier;
            }
        }
        receipt.done();
        Ok(())
    }

    /// Does it if nothing has to be asked for that. Gives the receipt back if something has.
    fn put_now(self: &Arc<Self>, state: &Arc<Outgoing>, receipt: Receipt) -> Option<Receipt> {
        let mut held = self.lock();
        match &held.standing {
            // What was last active after the position has changed after it, too.
            Standing::Waiting { position, .. } if position.is_before(state.last_active) => receipt.done(),
            Standing::Waiting { .. } => return Some(receipt),
            Standing::Live | Standing::CatchingUp => {
                held.queue.push(Arc::clone(state), receipt);
                if !held.is_running {
                    held.is_running = true;
                    drop(held);
                    self.start();
                }
            }
        }
        None
    }
}

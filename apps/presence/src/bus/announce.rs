//! Telling the bus of what has changed.

use logcontext::run_in_background;
use logcontext_bus::{Bus, FireError};

use super::PresenceChanged;
use crate::presence::Presence;
use crate::user::UserId;

/// Fires them in the background of the current context, one after the other: nobody waits for the broker whose presence
/// was set. A failure is in the log of the context; it is not tried again.
pub(crate) fn announce(bus: &Bus, changed: Vec<(UserId, Presence)>) {
    let bus = bus.clone();
    drop(run_in_background(async move {
        for (user, presence) in changed {
            bus.fire(&PresenceChanged::new(user, presence)).await?;
        }
        Ok::<(), FireError>(())
    }));
}

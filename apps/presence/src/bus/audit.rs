//! A line for each change of somebody's presence, wherever it was made: who wants to know looks for the target
//! `presence::audit`.

use logcontext_bus::{Bus, ListenError, OnError};

use super::PresenceChanged;

/// One of all processes writes it.
pub(super) async fn start(bus: &Bus) -> Result<(), ListenError> {
    let listener = bus.listen::<PresenceChanged>("audit", async |changed: PresenceChanged| {
        tracing::info!(
            target: "presence::audit",
            user = %changed.user,
            presence = changed.presence.as_str(),
            revision = changed.revision,
            "presence changed",
        );
    });
    listener.in_order().on_error(OnError::AcknowledgeAndLog).start().await?;
    Ok(())
}

//! What others are told of presence, and may ask: by the bus.

mod answer;
mod audit;
pub mod command;
mod hear;
mod messages;
mod settings;

use std::sync::Arc;

use logcontext_bus::Bus;
use logcontext_service::BoxError;

use crate::role::Role;
use crate::store::Store;
pub use messages::{Current, GetPresence, GetPresenceError, PresenceChanged, schemas};
pub use settings::BusSettings;

/// Connects to the bus, has it told from now on of what changes in the store, by its outbox, and listens and answers as its
/// role is.
///
/// # Errors
/// If there is no such bus, or it cannot be reached in time; or if the store cannot.
pub async fn start(settings: &BusSettings, role: Role, store: &Arc<Store>) -> Result<Bus, BoxError> {
    let bus = Bus::connect(&settings.config()).await?;
    if role.sends() {
        audit::start(&bus).await?;
    }
    if role.answers() {
        answer::start(&bus, store).await?;
        if settings.is_shared() {
            hear::start(&bus, store).await?;
        }
    }
    store.publish_by(&bus, settings.claim_after.get()).await?;
    Ok(bus)
}

//! Hearing what other processes have written to the same database.

use std::sync::Arc;

use logcontext_bus::{Bus, ListenError};

use super::PresenceChanged;
use crate::store::Store;

/// Each process that answers users has to know: who follows somebody by one process hears of what was set by another, and
/// what is answered from memory is not older than that.
pub(super) async fn start(bus: &Bus, store: &Arc<Store>) -> Result<(), ListenError> {
    let store = Arc::clone(store);
    let hear = move |changed: PresenceChanged| {
        let (user, presence) = changed.into_presence();
        store.hear(&user, &presence);
        async {}
    };
    let listener = bus.listen::<PresenceChanged>("news", hear);
    listener.every_process().in_order().called("replication-news").start().await?;
    Ok(())
}

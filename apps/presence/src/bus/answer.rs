//! Answering what others ask by the bus.

use std::sync::Arc;

use logcontext_bus::{Bus, ServeError};

use super::{Current, GetPresence, GetPresenceError};
use crate::store::Store;

pub(super) async fn start(bus: &Bus, store: &Arc<Store>) -> Result<(), ServeError> {
    let store = Arc::clone(store);
    let serving = bus.serve::<GetPresence>(move |request: GetPresence| {
        let store = Arc::clone(&store);
        async move { get(&store, &request).await }
    });
    serving.start().await?;
    Ok(())
}

async fn get(store: &Store, request: &GetPresence) -> Result<Current, GetPresenceError> {
    let presence = store.presence(&request.user).await.map_err(|error| {
        tracing::error!(%error, "cannot look up a presence");
        GetPresenceError::Unavailable
    })?;
    presence.map(Current::from).ok_or(GetPresenceError::UnknownUser)
}

//! Following a presence: server-sent events.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt};
use logcontext::Supervisor;
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;

use super::ApiError;
use super::presence::unknown;
use crate::store::Store;
use crate::user::UserId;

/// The presence as it is, then each change, until the client leaves or the service shuts down.
pub(super) async fn stream(
    Shared(store): Shared<Arc<Store>>,
    user: UserId,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, ApiError> {
    let changes = store.watch(&user).ok_or_else(|| unknown(&user))?;
    let events = WatchStream::new(changes)
        .map(move |presence| {
            let view = presence.view(&user, Instant::now());
            Event::default().event("presence").json_data(view)
        })
        .take_until(Supervisor::current().shutting_down());
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

//! Following a presence: server-sent events.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt, stream};
use logcontext::Supervisor;

use super::ApiError;
use super::presence::unknown;
use crate::store::Store;
use crate::time::Timestamp;
use crate::user::UserId;

/// The presence as it is, then each change, until the client leaves, the user is forgotten, or the service shuts
/// down.
pub(super) async fn follow(
    Shared(store): Shared<Arc<Store>>,
    user: UserId,
) -> Result<Sse<impl Stream<Item = Result<Event, axum::Error>>>, ApiError> {
    let following = store.follow(&user).await?.ok_or_else(|| unknown(&user))?;
    let changes = stream::unfold(following, async |mut following| Some((following.next().await?, following)));
    let events = changes
        .map(move |presence| {
            let view = presence.view(&user, Timestamp::now());
            Event::default().event("presence").json_data(view)
        })
        .take_until(Supervisor::current().draining());
    Ok(Sse::new(events).keep_alive(KeepAlive::default()))
}

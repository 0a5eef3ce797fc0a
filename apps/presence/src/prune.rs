//! The background process that deletes what is old.

use std::sync::Arc;
use std::time::Duration;

use logcontext::background::First;
use logcontext::{Background, background};
use logcontext_db::Error;

use crate::store::Store;
use crate::time::Timestamp;

/// How long it is known which transactions other hubs have sent: nobody tries one again after that.
const RECEIVED_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// How long the history says what somebody's presence was.
    pub history: Duration,
    /// Who is offline, and has done nothing for so long, is forgotten once there is no history left of them.
    pub users: Duration,
}

/// Deletes what is older than that every so often, until the service shuts down. The first time at once: the
/// service may have been away for long.
pub fn start(store: Arc<Store>, retention: Retention, period: Duration) -> Background<()> {
    background::every("prune_history", period).first(First::Now).run(move || {
        let store = Arc::clone(&store);
        async move {
            let now = Timestamp::now();
            let entries = store.prune_history(now.before(retention.history)).await?;
            let users = store.forget_users(now.before(retention.users)).await?;
            store.prune_received(now.before(RECEIVED_RETENTION)).await?;
            if entries > 0 || users > 0 {
                tracing::info!(entries, users, "deleted what is old");
            }
            Ok::<(), Error>(())
        }
    })
}

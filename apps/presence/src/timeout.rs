//! The background process that times presence out.

use std::sync::Arc;
use std::time::Duration;

use logcontext::{Background, background};
use logcontext_db::Error;

use crate::store::{Store, TimedOut, Timeouts};
use crate::time::Timestamp;

/// Looks every so often who has not been active for long, until the service shuts down.
pub fn start(store: Arc<Store>, timeouts: Timeouts, period: Duration) -> Background<()> {
    background::every("time_out_presence", period).run(move || {
        let store = Arc::clone(&store);
        async move {
            let done = store.time_out(&timeouts, Timestamp::now()).await?;
            if done != TimedOut::default() {
                let TimedOut { unavailable, offline } = done;
                tracing::info!(unavailable, offline, "presence timed out");
            }
            Ok::<(), Error>(())
        }
    })
}

//! The background process that times presence out.

use std::sync::Arc;
use std::time::Duration;

use logcontext::{Background, background};
use tokio::time::Instant;

use crate::store::{Store, TimedOut, Timeouts};

/// Looks every so often who has not been active for long, until the service shuts down.
pub fn start(store: Arc<Store>, timeouts: Timeouts, period: Duration) -> Background<()> {
    background::every("time_out_presence", period).run(move || {
        let store = Arc::clone(&store);
        async move {
            let done = store.time_out(&timeouts, Instant::now());
            if done != TimedOut::default() {
                let TimedOut { unavailable, offline, forgotten } = done;
                tracing::info!(unavailable, offline, forgotten, "presence timed out");
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presence::{Presence, State};
    use logcontext::FutureExt;

    const TIMEOUTS: Timeouts = Timeouts {
        unavailable: Duration::from_secs(30),
        offline: Duration::from_secs(300),
        forgotten: Duration::from_secs(3600),
    };

    #[test]
    fn the_process_times_out_by_the_clock_and_ends_with_the_service() {
        let test = logcontext::testing::start();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .on_thread_park(logcontext::expect_sentinel)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (store, alice) = (Arc::new(Store::new(1)), "alice".parse().unwrap());
            let online = Presence { state: State::Online, status_msg: None, last_active: Instant::now() };
            store.set(&alice, online).unwrap();
            let mut changes = store.watch(&alice).unwrap();
            let startup = test.supervisor().context("startup").start();
            let period = Duration::from_secs(1);
            let process = startup.scope(|| start(Arc::clone(&store), TIMEOUTS, period));

            let started = Instant::now();
            changes.mark_unchanged();
            changes.changed().await.unwrap();
            assert_eq!(changes.borrow_and_update().state, State::Unavailable);
            assert_eq!(started.elapsed().as_secs(), 30);
            changes.changed().await.unwrap();
            assert_eq!(changes.borrow_and_update().state, State::Offline);
            assert_eq!(started.elapsed().as_secs(), 300);

            let shutdown = test.supervisor().context("shutdown").start();
            let ended = test.supervisor().shutdown(Duration::from_secs(1)).in_context(shutdown).await;
            assert!(ended.aborted.is_empty());
            assert_eq!(process.await, Ok(()));
        });
        let timed_out: Vec<_> =
            test.records().into_iter().filter(|r| r.message == "presence timed out").collect();
        assert_eq!(timed_out.len(), 2);
        assert!(timed_out.iter().all(|record| record.context.name().starts_with("time_out_presence-")));
    }
}

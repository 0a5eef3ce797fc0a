//! The background process that removes what has expired, and tells the listener.

use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use logcontext::background;
use tokio::runtime::Handle;
use tokio::time::sleep_until;

use super::schedule::CHUNK;
use super::shared::Shared;
use crate::sync::lock;

/// Starts it if it does not run and there is a runtime. Does it run now?
pub(super) fn ensure<K, V>(shared: &Arc<Shared<K, V>>) -> bool
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    if shared.is_reaped.load(SeqCst) {
        return true;
    }
    if shared.supervisor.is_shutting_down() || Handle::try_current().is_err() {
        return false;
    }
    if shared.is_reaped.swap(true, SeqCst) {
        return true;
    }
    // Made here: a process that is never polled, because its runtime ends, has ended as well.
    let reaper = Reaper { shared: Arc::clone(shared) };
    let name = format!("prune_cache-{}", &*shared.name);
    drop(background::run_from(&shared.supervisor, &name, shared.origin, reaper.run()));
    shared.is_reaped.load(SeqCst)
}

/// That there is somebody who reaps, until it is dropped.
pub(super) struct Reaper<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) shared: Arc<Shared<K, V>>,
}

impl<K, V> Drop for Reaper<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.shared.is_reaped.store(false, SeqCst);
        // Whoever saw us running has left it to us.
        self.shared.tell_here();
    }
}

impl<K, V> Reaper<K, V>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    async fn run(self) {
        let shared = &*self.shared;
        let mut shutting_down = std::pin::pin!(shared.supervisor.shutting_down());
        while !shared.is_closed.load(SeqCst) && !shared.supervisor.is_shutting_down() {
            // One after the other, none of it for long.
            let told = shared.told.as_ref().is_some_and(|told| told.tell(CHUNK / 4));
            let reaped = shared.reap();
            let sifted = self.sift_if_bloated().await;
            if told || reaped || sifted {
                tokio::task::yield_now().await;
                continue;
            }
            let due = lock(&shared.schedule).next_due().and_then(|due| shared.clock.instant(due));
            tokio::select! {
                () = shared.wake.notified() => {}
                () = async { sleep_until(due.unwrap_or_else(tokio::time::Instant::now)).await }, if due.is_some() => {}
                () = &mut shutting_down => {}
            }
        }
        if shared.is_closed.load(SeqCst) {
            self.empty().await;
        }
    }

    /// Sifts the schedule, if it is bloated. True if it was.
    async fn sift_if_bloated(&self) -> bool {
        let shared = &*self.shared;
        let entries = shared.store.len();
        let outline = {
            let schedule = lock(&shared.schedule);
            if !schedule.is_bloated(entries) {
                return false;
            }
            schedule.outline()
        };
        for (bucket, chunks) in outline {
            for _ in 0..chunks {
                shared.sift(bucket);
                tokio::task::yield_now().await;
            }
        }
        true
    }

    /// Nobody has the cache any more: what is in it goes bit by bit, rather than all at once.
    async fn empty(&self) {
        let mut entries = self.shared.store.drain();
        while entries.by_ref().take(CHUNK).count() == CHUNK {
            tokio::task::yield_now().await;
        }
        while lock(&self.shared.schedule).take_due(u64::MAX).is_some() {
            tokio::task::yield_now().await;
        }
    }
}

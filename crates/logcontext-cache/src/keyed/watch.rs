//! Looking after those who wait: so that who waits for ever is on the log, too.
//!
//! It runs while somebody waits, and for no longer than the limit of a long wait afterwards: a queue that nobody waits
//! in has no task. It ends with the queue, and with the service.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use logcontext::{ContextKind, Supervisor};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::keyed::{Keyed, QueueKey};

/// What its contexts are totalled by.
const LABEL: &str = "watch_keyed_waits";

#[derive(Debug, Default)]
pub(super) struct Watch {
    running: Arc<AtomicBool>,
    gone: Arc<Notify>,
}

impl Watch {
    /// The queue is gone.
    pub(super) fn end(&self) {
        self.gone.notify_one();
    }
}

/// Somebody waits: sees to it that it is noticed if that takes long. Without a runtime it is when it is over.
pub(super) fn start<K: QueueKey>(keyed: &Arc<Keyed<K>>) {
    let watch = &keyed.watch;
    if watch.running.load(SeqCst) || Instant::now().checked_add(keyed.places.limit()).is_none() {
        return;
    }
    if Handle::try_current().is_err() || keyed.supervisor.is_shutting_down() {
        return;
    }
    if watch.running.swap(true, SeqCst) {
        return;
    }
    let running = Running(Arc::clone(&watch.running));
    let context = keyed
        .supervisor
        .context(format!("{LABEL}-{}", keyed.name))
        .kind(ContextKind::Background)
        .label(LABEL)
        .start();
    let run = run(Arc::downgrade(keyed), Arc::clone(&watch.gone), keyed.supervisor.clone(), running);
    drop(context.run_in_background(run));
}

async fn run<K: QueueKey>(keyed: Weak<Keyed<K>>, gone: Arc<Notify>, supervisor: Supervisor, running: Running) {
    loop {
        let next = match keyed.upgrade() {
            Some(keyed) => look(&keyed, &running).await,
            None => None,
        };
        let Some(next) = next else { return };
        tokio::select! {
            () = sleep_until(next) => {}
            () = gone.notified() => return,
            () = supervisor.shutting_down() => return,
        }
    }
}

/// When to look again, if somebody waits who has not waited for too long yet.
async fn look<K: QueueKey>(keyed: &Keyed<K>, running: &Running) -> Option<Instant> {
    if let Some(next) = keyed.report_overdue().await {
        return Some(next);
    }
    // Whoever comes from now on finds nobody watching; for those who came just before, we look once more.
    running.0.store(false, SeqCst);
    let next = keyed.report_overdue().await?;
    (!running.0.swap(true, SeqCst)).then_some(next)
}

/// Tells by its end, whichever it is, that nobody watches any more.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

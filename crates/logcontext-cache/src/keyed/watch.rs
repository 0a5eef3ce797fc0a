//! Looking after those who wait: so that who waits for ever is on the log, too.
//!
//! It runs while somebody waits, and for no longer than the limit of a long wait afterwards: a queue that nobody waits
//! in has no task. It ends with the queue, and with the service.

use std::sync::{Arc, Weak};

use logcontext::{Supervisor, background};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::running::Running;
use super::shared::{Keyed, QueueKey};

#[derive(Debug)]
pub(super) struct Watch {
    running: Arc<Running>,
    gone: Arc<Notify>,
}

impl Default for Watch {
    fn default() -> Self {
        Self { running: Arc::new(Running::new()), gone: Arc::default() }
    }
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
    if watch.running.is_set() || Instant::now().checked_add(keyed.places.limit()).is_none() {
        return;
    }
    if Handle::try_current().is_err() || keyed.supervisor.is_shutting_down() {
        return;
    }
    if !watch.running.begin() {
        return;
    }
    let watching = Watching(Arc::clone(&watch.running));
    let name = format!("watch_keyed_waits-{}", &*keyed.name);
    let run = run(Arc::downgrade(keyed), Arc::clone(&watch.gone), keyed.supervisor.clone(), watching);
    drop(background::run_from(&keyed.supervisor, &name, keyed.origin, run));
}

async fn run<K: QueueKey>(
    keyed: Weak<Keyed<K>>,
    gone: Arc<Notify>,
    supervisor: Supervisor,
    watching: Watching,
) {
    loop {
        let next = match keyed.upgrade() {
            Some(keyed) => look(&keyed, &watching.0).await,
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
    let mut found = Vec::new();
    let next = running.look(|| keyed.places.overdue(Instant::now(), &mut found));
    keyed.report(found).await;
    next
}

/// Tells by its end, whichever it is, that nobody watches any more.
struct Watching(Arc<Running>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.end();
    }
}

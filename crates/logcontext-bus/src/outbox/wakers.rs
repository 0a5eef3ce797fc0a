//! Telling relays of this process that there is something to send.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

/// The relays of a bus.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wakers(Arc<Mutex<Vec<Weak<Notify>>>>);

impl Wakers {
    pub(super) fn add(&self, waker: &Arc<Notify>) {
        let mut wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.retain(|waker| waker.strong_count() > 0);
        wakers.push(Arc::downgrade(waker));
    }

    /// Was none ever added? One that has ended counts: what is stored is sent by another process, or later.
    pub(super) fn are_none(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    pub(super) fn wake(&self) {
        let wakers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wakers.iter().filter_map(Weak::upgrade).for_each(|waker| waker.notify_one());
    }
}

//! Waiting for a lookup.

use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::entry::Outcome;
use super::flight::Flight;
use super::inner::Inner;

/// One who waits for a flight; leaves it when dropped.
pub(super) struct Wait<'a, K, V, E>
where
    K: Eq + Hash + Clone,
{
    pub(super) inner: &'a Inner<K, V, E>,
    pub(super) flight: Arc<Flight<K, V, E>>,
    pub(super) number: u64,
    pub(super) landed: bool,
}

impl<K, V, E> Future for Wait<'_, K, V, E>
where
    K: Eq + Hash + Clone,
{
    type Output = Arc<Outcome<K, V, E>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.flight.poll(self.number, cx.waker());
        self.landed = poll.is_ready();
        poll
    }
}

impl<K, V, E> Drop for Wait<'_, K, V, E>
where
    K: Eq + Hash + Clone,
{
    fn drop(&mut self) {
        if !self.landed {
            self.inner.leave(&self.flight, self.number);
        }
    }
}

//! [`Queued`]: waiting for a key.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use logcontext::{LogContext, current_context};
use tokio::task::coop;

use super::access::Access;
use super::places::SeatAt;
use super::shared::{Held, Keyed, QueueKey};
use super::watch;

/// Waits for a key, in the order of arrival; what it answers holds the key until it is dropped.
///
/// Whoever is polled first has arrived first. Dropped before it has answered, it leaves the queue at once, also if its
/// turn had come just then: nobody waits for those who do not wait any more. The context that is current at its first
/// poll is the one that waits and that will hold the key; the time of waiting is charged to it, in
/// [`KEYED_WAIT`](crate::KEYED_WAIT).
#[must_use = "futures do nothing unless polled"]
pub struct Queued<K: QueueKey, G> {
    keyed: Arc<Keyed<K>>,
    access: Access,
    state: State<K>,
    guard: PhantomData<fn() -> G>,
}

enum State<K> {
    New(K),
    Waiting(SeatAt, LogContext),
    Over,
}

impl<K: QueueKey, G> Queued<K, G> {
    #[inline]
    pub(super) fn new(keyed: &Arc<Keyed<K>>, key: K, access: Access) -> Self {
        Self { keyed: Arc::clone(keyed), access, state: State::New(key), guard: PhantomData }
    }
}

impl<K: QueueKey, G> Unpin for Queued<K, G> {}

impl<K: QueueKey, G: From<Held<K>>> Future for Queued<K, G> {
    type Output = G;

    /// # Panics
    /// If it is polled again after it was ready.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<G> {
        let this = &mut *self;
        if let State::New(_) = this.state {
            // Who takes one free key after the other gives way to other tasks, too.
            let coop = ready!(coop::poll_proceed(cx));
            let State::New(key) = std::mem::replace(&mut this.state, State::Over) else { unreachable!() };
            let context = current_context();
            let Some((seat, holds)) = this.keyed.places.arrive(key, this.access, true, context) else {
                unreachable!("whoever may wait has a seat")
            };
            if holds {
                coop.made_progress();
                return Poll::Ready(this.keyed.held(seat, Duration::ZERO).into());
            }
            this.state = State::Waiting(seat, current_context());
            watch::start(&this.keyed);
        }
        this.poll_waiting(cx).map(G::from)
    }
}

impl<K: QueueKey, G> Queued<K, G> {
    #[cold]
    fn poll_waiting(&mut self, cx: &Context<'_>) -> Poll<Held<K>> {
        let State::Waiting(seat, _) = &self.state else { panic!("`Queued` polled after it was ready") };
        let seat = *seat;
        let Some(over) = self.keyed.places.poll(seat, cx.waker()) else { return Poll::Pending };
        let held = self.keyed.held(seat, over.waited);
        if let State::Waiting(_, context) = std::mem::replace(&mut self.state, State::Over) {
            self.keyed.waited(&context, over);
        }
        Poll::Ready(held)
    }
}

impl<K: QueueKey, G> Drop for Queued<K, G> {
    #[inline]
    fn drop(&mut self) {
        if let State::Waiting(seat, context) = std::mem::replace(&mut self.state, State::Over) {
            let over = self.keyed.places.give_up(seat);
            self.keyed.waited(&context, over);
        }
    }
}

impl<K: QueueKey, G> fmt::Debug for Queued<K, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Queued");
        out.field("name", &&*self.keyed.name).field("access", &self.access).finish_non_exhaustive()
    }
}

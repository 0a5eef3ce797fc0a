//! Waiting for something that happens once, beside something that happens all the time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future that is looked at only when it has woken somebody: until then a look costs next to nothing.
pub(super) struct Asked<'a, F> {
    future: Pin<&'a mut F>,
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken {
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, SeqCst);
        self.task.wake();
    }
}

impl<'a, F: Future<Output = ()>> Asked<'a, F> {
    pub(super) fn new(future: Pin<&'a mut F>) -> Self {
        let woken = Arc::new(Woken { is_woken: AtomicBool::new(true), task: AtomicWaker::new() });
        Self { future, waker: Waker::from(Arc::clone(&woken)), woken }
    }

    /// Not to be called again once it was.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.woken.task.register(cx.waker());
        if !self.woken.is_woken.swap(false, SeqCst) {
            return Poll::Pending;
        }
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

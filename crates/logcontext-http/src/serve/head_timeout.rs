//! How long a connection waits for the head of a request: one timer for all of its requests, set again only after it
//! has run out.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use tokio::time;

/// No head is waited for.
const NEVER: u64 = u64::MAX;

/// The deadline of the head that a connection waits for. hyper sets it, as its timer, each time it begins to wait; who
/// gets the request takes it back; [`HeadTimeout`] keeps it. Had hyper to keep it itself, that would take an allocation
/// and a place in the runtime's wheel with each request, to be given back some microseconds later.
#[derive(Clone, Debug)]
pub(super) struct HeadClock(Arc<Clock>);

#[derive(Debug)]
struct Clock {
    start: time::Instant,
    /// In nanoseconds from the start.
    deadline: AtomicU64,
}

impl HeadClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Clock { start: time::Instant::now(), deadline: AtomicU64::new(NEVER) }))
    }

    /// The head is there.
    #[inline]
    pub(super) fn has_come(&self) {
        self.0.deadline.store(NEVER, Relaxed);
    }

    #[inline]
    fn deadline(&self) -> Option<time::Instant> {
        let nanos = self.0.deadline.load(Relaxed);
        (nanos != NEVER).then(|| self.0.start + Duration::from_nanos(nanos))
    }
}

impl Timer for HeadClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let nanos = time::Instant::from(deadline).saturating_duration_since(self.0.start).as_nanos();
        self.0.deadline.store(u64::try_from(nanos).unwrap_or(NEVER), Relaxed);
        // It has no size: nothing is allocated.
        Box::pin(ForEver)
    }

    fn now(&self) -> Instant {
        time::Instant::now().into()
    }
}

/// What hyper waits for in its stead.
struct ForEver;

impl Sleep for ForEver {}

impl Future for ForEver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Ready when the deadline of a head has passed: for who is polled all the time, and in vain nearly always.
pub(super) struct HeadTimeout {
    clock: HeadClock,
    timer: Option<Timed>,
}

struct Timed {
    sleep: Pin<Box<time::Sleep>>,
    /// Who is woken by it.
    waker: Waker,
}

impl HeadTimeout {
    pub(super) fn new(clock: HeadClock) -> Self {
        Self { clock, timer: None }
    }

    #[inline]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.clock.deadline() else { return Poll::Pending };
        if let Some(Timed { sleep, waker }) = &self.timer
            && sleep.deadline() <= deadline
            && !sleep.is_elapsed()
            && waker.will_wake(cx.waker())
        {
            // It comes back in time, and sees to the rest.
            return Poll::Pending;
        }
        self.wait_until(deadline, cx)
    }

    #[cold]
    fn wait_until(&mut self, deadline: time::Instant, cx: &mut Context<'_>) -> Poll<()> {
        let new = || Timed { sleep: Box::pin(time::sleep_until(deadline)), waker: cx.waker().clone() };
        let Timed { sleep, waker } = self.timer.get_or_insert_with(new);
        waker.clone_from(cx.waker());
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        if sleep.deadline() < deadline {
            sleep.as_mut().reset(deadline);
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Waits for a head for so long, as hyper would.
    async fn wait(timeout: &mut HeadTimeout, limit: Duration) {
        drop(timeout.clock.sleep(limit));
        poll_fn(|cx| timeout.poll(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_whichever_was_set_first() {
        let mut head = HeadTimeout::new(HeadClock::new());
        let start = time::Instant::now();
        for (limit, seconds) in [(5, 5), (3, 8), (9, 17), (1, 18), (0, 18)] {
            wait(&mut head, limit * SECOND).await;
            assert_eq!(start.elapsed(), seconds * SECOND);
        }
        // Of what nobody waits for any more, nothing is left that could be too early or too late.
        for given_up in [2, 20] {
            let start = time::Instant::now();
            timeout(SECOND, wait(&mut head, given_up * SECOND)).await.unwrap_err();
            wait(&mut head, 4 * SECOND).await;
            assert_eq!(start.elapsed(), 5 * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_has_come_has_no_deadline() {
        let mut head = HeadTimeout::new(HeadClock::new());
        timeout(SECOND, wait(&mut head, 2 * SECOND)).await.unwrap_err();
        head.clock.has_come();
        timeout(60 * SECOND, poll_fn(|cx| head.poll(cx))).await.unwrap_err();
        let start = time::Instant::now();
        wait(&mut head, 2 * SECOND).await;
        assert_eq!(start.elapsed(), 2 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_that_are_not_waited_for_set_no_timer() {
        let mut head = HeadTimeout::new(HeadClock::new());
        let mut set_for = || {
            let waker = Waker::noop();
            drop(head.clock.sleep(30 * SECOND));
            assert!(head.poll(&mut Context::from_waker(waker)).is_pending());
            head.timer.as_ref().expect("it waits").sleep.deadline()
        };
        let first = set_for();
        for _ in 0..20 {
            time::advance(SECOND).await;
            assert_eq!(set_for(), first);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_polls_it_last_is_woken() {
        let mut head = HeadTimeout::new(HeadClock::new());
        drop(head.clock.sleep(SECOND));
        assert!(head.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let start = time::Instant::now();
        poll_fn(|cx| head.poll(cx)).await;
        assert_eq!(start.elapsed(), SECOND);
    }
}

//! The clock of one connection: one timer for all of its requests, which is set again only after it has run out.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// For hyper, which asks for another deadline with each request and hardly ever waits until one. To hand each of them
/// to the runtime costs a lock and a place in its wheel, to be given back some microseconds later: here the first one
/// stays there, and who still waits when it runs out goes on to wait for their own.
#[derive(Debug, Default)]
pub(super) struct ConnectionTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Deadline { timer: Self(Arc::clone(&self.0)), at: deadline.into() })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into()
    }
}

struct Deadline {
    timer: ConnectionTimer,
    at: tokio::time::Instant,
}

impl Sleep for Deadline {}

impl Future for Deadline {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut timer = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.at)));
        if timer.deadline() > self.at {
            timer.as_mut().reset(self.at);
        }
        ready!(timer.as_mut().poll(cx));
        if timer.deadline() < self.at {
            timer.as_mut().reset(self.at);
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{self, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn each_deadline_is_kept_whichever_was_asked_for_first() {
        let timer = ConnectionTimer::default();
        let start = time::Instant::now();
        for (asked, seconds) in [(5, 5), (3, 8), (9, 17), (1, 18), (0, 18)] {
            timer.sleep(asked * SECOND).await;
            assert_eq!(start.elapsed(), seconds * SECOND);
        }
        // Of what nobody waits for any more, nothing is left that could be too early or too late.
        for given_up in [2, 20] {
            let start = time::Instant::now();
            timeout(SECOND, timer.sleep(given_up * SECOND)).await.unwrap_err();
            timer.sleep(4 * SECOND).await;
            assert_eq!(start.elapsed(), 5 * SECOND);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_that_are_not_waited_for_set_no_timer() {
        let timer = ConnectionTimer::default();
        timeout(SECOND, timer.sleep(30 * SECOND)).await.unwrap_err();
        let first = timer.0.lock().unwrap().as_ref().unwrap().deadline();
        for _ in 0..20 {
            timeout(SECOND, timer.sleep(30 * SECOND)).await.unwrap_err();
        }
        assert_eq!(timer.0.lock().unwrap().as_ref().unwrap().deadline(), first);
    }
}

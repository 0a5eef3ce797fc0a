//! Looks after a handler that runs.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use logcontext::catch_panic;
use tokio::time::Instant;

use super::answerer::Said;
use super::caller::Gone;
use crate::blocking::NotDone;
use crate::transport::{Inbox, ReplyTo};
use crate::waits::{Kind, Told};

/// How a handler ended.
pub(super) enum End {
    Said(Said),
    NotDone(NotDone),
    /// Whoever had called waits no more.
    Cancelled,
    /// Whoever had called has waited for long enough.
    Expired,
}

/// Runs it until it has answered, or nobody wants its answer any more: then it is dropped. One that cannot be is told,
/// by `gone`, and waited for.
pub(super) async fn attend<F>(
    inbox: &Inbox,
    from: &ReplyTo,
    due: Instant,
    gone: Option<&Gone>,
    work: F,
) -> End
where
    F: Future<Output = Result<Said, NotDone>>,
{
    let mut work = pin!(Some(work));
    let mut attended = None;
    let first = poll_fn(|cx| {
        if let Some(Poll::Ready(told)) = attended.as_ref().map(|attended: &Attended<'_>| attended.poll(cx)) {
            return Poll::Ready(Err(told));
        }
        let polled = poll(work.as_mut(), cx);
        // Only what takes a while has to be found by somebody who ends it.
        if polled.is_pending() && attended.is_none() {
            let (begun, was_cancelled) = Attended::begin(inbox, from, due, cx.waker());
            attended = Some(begun);
            if was_cancelled {
                return Poll::Ready(Err(Told::Cancelled));
            }
        }
        polled.map(Ok)
    });
    let told = match first.await {
        Ok(Ok(said)) => return End::Said(said),
        Ok(Err(not_done)) => return End::NotDone(not_done),
        Err(told) => told,
    };
    drop(attended);
    let ended = match gone {
        None => catch_panic(|| work.set(None)).map_err(NotDone::Panicked),
        Some(gone) => {
            gone.set();
            poll_fn(|cx| poll(work.as_mut(), cx)).await.map(drop)
        }
    };
    match (ended, told) {
        (Err(not_done), _) => End::NotDone(not_done),
        (Ok(()), Told::Expired) => End::Expired,
        (Ok(()), _) => End::Cancelled,
    }
}

/// Polls it, and drops it when it is ready; either may panic.
fn poll<F>(mut work: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<Result<Said, NotDone>>
where
    F: Future<Output = Result<Said, NotDone>>,
{
    let polled = catch_panic(|| {
        let running = work.as_mut().as_pin_mut().expect("polled after it was ready");
        let result = ready!(running.poll(cx));
        work.set(None);
        Poll::Ready(result)
    });
    polled.unwrap_or_else(|panic| {
        // What a panic left behind may panic again: one is enough.
        let _ = catch_panic(|| work.set(None));
        Poll::Ready(Err(NotDone::Panicked(panic)))
    })
}

/// A handler that can be found by whoever ends it, until this is dropped.
struct Attended<'a> {
    inbox: &'a Inbox,
    from: &'a ReplyTo,
    wait: u64,
}

impl<'a> Attended<'a> {
    /// Answers as well whether nobody waits for it even now.
    fn begin(inbox: &'a Inbox, from: &'a ReplyTo, due: Instant, waker: &Waker) -> (Self, bool) {
        let wait = inbox.waits().begin(Kind::Handler, due, waker);
        let was_cancelled = inbox.handled().begin(from, wait);
        (Self { inbox, from, wait }, was_cancelled)
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Told> {
        self.inbox.waits().poll(self.wait, cx)
    }
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        self.inbox.handled().end(self.from);
        self.inbox.waits().forget(self.wait);
    }
}

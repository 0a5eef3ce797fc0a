//! Looks after a handler that runs.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use logcontext::catch_panic;
use pin_project_lite::pin_project;
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

pin_project! {
    /// Runs a handler until it has answered, or nobody wants its answer any more: then it is dropped. One that cannot be
    /// is told, by `gone`, and waited for.
    pub(super) struct Attend<'a, F> {
        #[pin]
        work: Option<F>,
        inbox: &'a Inbox,
        from: &'a ReplyTo,
        due: Instant,
        gone: Option<Gone>,
        // Only what takes a while has to be found by somebody who ends it.
        attended: Option<Attended<'a>>,
        unwanted: Option<Unwanted>,
    }
}

/// Why nobody wants it.
#[derive(Clone, Copy)]
enum Unwanted {
    Cancelled,
    Expired,
}

impl<'a, F> Attend<'a, F> {
    pub(super) fn new(
        inbox: &'a Inbox,
        from: &'a ReplyTo,
        due: Instant,
        gone: Option<Gone>,
        work: F,
    ) -> Self {
        Self { work: Some(work), inbox, from, due, gone, attended: None, unwanted: None }
    }
}

impl<F: Future<Output = Result<Said, NotDone>>> Future for Attend<'_, F> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let mut this = self.project();
        if let Some(Poll::Ready(told)) = this.attended.as_ref().map(|attended| attended.poll(cx)) {
            *this.attended = None;
            let is_expired = matches!(told, Told::Expired);
            *this.unwanted = Some(if is_expired { Unwanted::Expired } else { Unwanted::Cancelled });
        }
        if this.unwanted.is_none() {
            if let Poll::Ready(result) = poll(this.work.as_mut(), cx) {
                *this.attended = None;
                return Poll::Ready(match result {
                    Ok(said) => End::Said(said),
                    Err(not_done) => End::NotDone(not_done),
                });
            }
            if this.attended.is_none() {
                let (begun, was_cancelled) = Attended::begin(this.inbox, this.from, *this.due, cx.waker());
                if was_cancelled {
                    *this.unwanted = Some(Unwanted::Cancelled);
                } else {
                    *this.attended = Some(begun);
                }
            }
        }
        let Some(unwanted) = *this.unwanted else { return Poll::Pending };
        let ended = match this.gone {
            None => catch_panic(|| this.work.set(None)).map_err(NotDone::Panicked),
            Some(gone) => {
                gone.set();
                ready!(poll(this.work.as_mut(), cx)).map(drop)
            }
        };
        Poll::Ready(match (ended, unwanted) {
            (Err(not_done), _) => End::NotDone(not_done),
            (Ok(()), Unwanted::Expired) => End::Expired,
            (Ok(()), Unwanted::Cancelled) => End::Cancelled,
        })
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

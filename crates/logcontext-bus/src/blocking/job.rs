//! One piece of blocking work, and whoever waits for it.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use logcontext::{FutureExt, LogContext, Panic, block_in_place, catch_panic, current_context};
use tokio::sync::oneshot;

/// Why blocking work has no result.
#[derive(Debug)]
pub(crate) enum NotDone {
    /// It panicked. That has been reported, in its context.
    Panicked(Panic),
    /// It was not begun: the system had no thread for it.
    NoThread(io::Error),
}

/// Blocking work that was begun. It goes on if this is dropped, in its context as a follower: whoever finishes the
/// context waits for this first.
#[derive(Debug)]
#[must_use = "whoever finishes the context must wait for the work"]
pub(crate) struct Running<R>(Result<oneshot::Receiver<Result<R, Panic>>, Option<io::Error>>);

impl<R> Running<R> {
    pub(super) fn failed(error: io::Error) -> Self {
        Self(Err(Some(error)))
    }
}

impl<R> Future for Running<R> {
    type Output = Result<R, NotDone>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lost = || io::Error::other("the thread has ended");
        match &mut self.0 {
            Ok(result) => Pin::new(result).poll(cx).map(|result| match result {
                Ok(result) => result.map_err(NotDone::Panicked),
                Err(_) => Err(NotDone::NoThread(lost())),
            }),
            Err(error) => Poll::Ready(Err(NotDone::NoThread(error.take().unwrap_or_else(lost)))),
        }
    }
}

/// Work for a thread, in the context that it was asked for in.
pub(super) struct Job {
    /// `None` once it has been done, or dropped.
    work: Option<Box<dyn Work + Send>>,
    context: LogContext,
}

impl Job {
    pub(super) fn new<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> (Self, Running<R>) {
        let (tell, told) = oneshot::channel();
        let work = Task { f: Some(f), result: None, tell: Some(tell) };
        (Self { work: Some(Box::new(work)), context: current_context() }, Running(Ok(told)))
    }

    /// Does it, on a thread that may block.
    pub(super) fn run(mut self) {
        let Some(work) = &mut self.work else { return };
        if !work.is_awaited() {
            return;
        }
        as_follower(&self.context, || block_in_place(|| work.run()));
        // From outside the context, so that all that the work has cost has been charged before somebody finishes it.
        if work.tell() {
            self.work = None;
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            as_follower(&self.context, || drop(work));
        }
    }
}

/// Runs `f` in the context, also if that has finished meanwhile: it was begun before.
fn as_follower<T>(context: &LogContext, f: impl FnOnce() -> T) -> T {
    pin!(().following(context.clone())).with(|mut nothing| {
        nothing.set(None);
        f()
    })
}

trait Work {
    /// Does anybody wait for it?
    fn is_awaited(&self) -> bool;

    fn run(&mut self);

    /// Hands the result over. Answers whether somebody has it now; else it is still here.
    fn tell(&mut self) -> bool;
}

struct Task<F, R> {
    f: Option<F>,
    result: Option<Result<R, Panic>>,
    tell: Option<oneshot::Sender<Result<R, Panic>>>,
}

impl<R, F: FnOnce() -> R> Work for Task<F, R> {
    fn is_awaited(&self) -> bool {
        self.tell.as_ref().is_some_and(|tell| !tell.is_closed())
    }

    fn run(&mut self) {
        let Some(f) = self.f.take() else { return };
        let mut result = catch_panic(f);
        if let Err(panic) = &mut result {
            panic.report();
        }
        self.result = Some(result);
    }

    fn tell(&mut self) -> bool {
        let (Some(result), Some(tell)) = (self.result.take(), self.tell.take()) else { return false };
        self.result = tell.send(result).err();
        self.result.is_none()
    }
}

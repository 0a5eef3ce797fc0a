//! [`gather`]: several pieces of work, all of which are to come to their end.

use std::fmt::{self, Display};
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use futures_util::future::join_all;

use super::shield::{Shielded, shield};
use crate::context::LogContext;
use crate::meter;
use crate::panics::{Panic, catch_panic};
use crate::sync::lock;

type All<T> = Pin<Box<dyn Future<Output = Vec<Option<T>>> + Send>>;

/// Several pieces of work at once: see [`gather`].
#[must_use = "futures do nothing unless polled"]
pub struct Gathered<T: Send + 'static, E: Display + Send + 'static> {
    all: Shielded<All<T>>,
    failures: Arc<Failures<E>>,
}

/// Runs all of these at once, each to its end, and answers their results in this order, or else the error that came
/// first.
///
/// None of them is cancelled because another one fails: the error is answered when all have ended. None is cancelled
/// because the caller is: they go on in the background, as [`shield`](super::shield) explains. An error that cannot be
/// answered, because another came before it or because the caller is gone, is logged at once. A panic counts as an
/// error, and goes on in the caller when all have ended.
///
/// They run in the caller's task, in its context if they are not in one of their own. Where the rest is not worth
/// finishing once one has failed, `tokio::try_join!` and `futures::future::try_join_all` work as they are.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::concurrency::gather;
/// use logcontext::{FutureExt, LogContext};
///
/// async fn store(n: u32) -> Result<u32, String> {
///     tokio::task::yield_now().await;
///     if n == 2 { Err(format!("{n} is taken")) } else { Ok(n) }
/// }
/// async {
///     assert_eq!(gather([store(1), store(3)]).await, Ok(vec![1, 3]));
///     assert_eq!(gather((0..9).map(store)).await, Err("2 is taken".to_owned())); // all others are stored
/// }
/// .in_context(LogContext::new("PUT-17"))
/// .await;
/// # }
/// ```
///
/// # Errors
/// The error that came first.
#[track_caller]
#[doc(alias = "gather_results")]
#[doc(alias = "yieldable_gather_results")]
#[doc(alias = "yieldable_gather_results_delaying_cancellation")]
pub fn gather<I, T, E>(futures: I) -> Gathered<T, E>
where
    I: IntoIterator<Item: Future<Output = Result<T, E>> + Send + 'static>,
    T: Send + 'static,
    E: Display + Send + 'static,
{
    let (context, origin) = (meter::current(), Location::caller());
    let failures =
        Arc::new(Failures { state: Mutex::new(State { alone: false, first: None }), context, origin });
    let each = |future| to_its_end(future, Arc::clone(&failures));
    let all: All<T> = Box::pin(join_all(futures.into_iter().map(each).collect::<Vec<_>>()));
    Gathered { all: shield(all), failures }
}

/// Runs one of them; its failure goes to the others'.
async fn to_its_end<F, T, E>(future: F, failures: Arc<Failures<E>>) -> Option<T>
where
    F: Future<Output = Result<T, E>>,
    E: Display,
{
    let mut future = pin!(future);
    let ended = poll_fn(|cx| match catch_panic(|| future.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(Ok(value))) => Poll::Ready(Ok(value)),
        Ok(Poll::Ready(Err(error))) => Poll::Ready(Err(Failure::Error(error))),
        Err(panic) => Poll::Ready(Err(Failure::Panic(panic))),
    });
    ended.await.map_err(|failure| failures.add(failure)).ok()
}

enum Failure<E> {
    Error(E),
    Panic(Panic),
}

struct Failures<E> {
    state: Mutex<State<E>>,
    context: LogContext,
    origin: &'static Location<'static>,
}

struct State<E> {
    /// Is nobody there any more who would be told?
    alone: bool,
    /// What the caller will be told.
    first: Option<Failure<E>>,
}

impl<E: Display> Failures<E> {
    fn add(&self, failure: Failure<E>) {
        let mut state = lock(&self.state);
        if state.alone || state.first.is_some() {
            drop(state);
            self.log(failure);
        } else {
            state.first = Some(failure);
        }
    }

    /// The caller is gone.
    fn leave_alone(&self) {
        let mut state = lock(&self.state);
        state.alone = true;
        let untold = state.first.take();
        drop(state);
        if let Some(failure) = untold {
            self.log(failure);
        }
    }

    fn log(&self, failure: Failure<E>) {
        self.context.scope_as_follower(|| match failure {
            Failure::Error(error) => tracing::error!(
                target: "logcontext::background",
                %error,
                started_at = %self.origin,
                "gathered work failed",
            ),
            Failure::Panic(mut panic) => panic.report(),
        });
    }
}

impl<T: Send + 'static, E: Display + Send + 'static> Future for Gathered<T, E> {
    type Output = Result<Vec<T>, E>;

    /// # Panics
    /// If it is polled again after it was ready, and when all have ended if one has panicked and none has failed before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let values = ready!(Pin::new(&mut self.all).poll(cx));
        let first = lock(&self.failures.state).first.take();
        match first {
            None => Poll::Ready(Ok(values.into_iter().flatten().collect())),
            Some(Failure::Error(error)) => Poll::Ready(Err(error)),
            Some(Failure::Panic(panic)) => panic.resume(),
        }
    }
}

impl<T: Send + 'static, E: Display + Send + 'static> Drop for Gathered<T, E> {
    fn drop(&mut self) {
        if self.all.has_begun() {
            self.failures.leave_alone();
        }
    }
}

impl<T: Send + 'static, E: Display + Send + 'static> fmt::Debug for Gathered<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Gathered");
        out.field("context", &self.failures.context)
            .field("origin", &self.failures.origin)
            .finish_non_exhaustive()
    }
}

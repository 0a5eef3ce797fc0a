//! The task that a lookup runs as.

use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use logcontext::{Ending, FutureExt as _, LogContext, catch_panic};
use tokio::time::Instant;

use super::entry::Outcome;
use super::error::LookupError;
use super::flight::Flight;
use super::inner::Inner;

pub(super) type Running<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

type Ask<Q, A, E> = Box<dyn Fn(Q) -> Running<A, E> + Send + Sync>;

/// How to look something up.
pub(super) enum Lookup<K, V, E> {
    One(Ask<K, V, E>),
    Many(Ask<Vec<K>, HashMap<K, V>, E>),
}

/// Starts the lookup as a task. Needs a runtime.
pub(super) fn start<K, V, E>(inner: &Arc<Inner<K, V, E>>, flight: &Arc<Flight<K, V, E>>)
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    inner.figures.started();
    let driver = Driver {
        inner: Arc::clone(inner),
        flight: Arc::clone(flight),
        work: Work::Asked,
        started: Instant::now(),
    };
    // The task is the cache's, which pays for waking and for what it keeps. What the lookup itself does is done in the
    // context of whoever pays for that.
    flight.set_task(inner.books.own().run_in_background_from(inner.origin, driver));
}

struct Driver<K, V, E>
where
    K: Eq + Hash + Clone,
{
    inner: Arc<Inner<K, V, E>>,
    flight: Arc<Flight<K, V, E>>,
    work: Work<K, V, E>,
    started: Instant,
}

enum Work<K, V, E> {
    Asked,
    One(Running<V, E>),
    Many(Running<HashMap<K, V>, E>),
    Done,
}

impl<K: Eq + Hash + Clone, V, E> Work<K, V, E> {
    fn poll(&mut self, lookup: &Lookup<K, V, E>, keys: &[K], cx: &mut Context<'_>) -> Poll<Ended<K, V, E>> {
        if let Self::Asked = self {
            *self = match lookup {
                Lookup::One(one) => Self::One(one(keys[0].clone())),
                Lookup::Many(many) => Self::Many(many(keys.to_vec())),
            };
        }
        let result = match self {
            Self::One(one) => ready!(one.as_mut().poll(cx)).map(|value| Outcome::One(Arc::new(value))),
            Self::Many(many) => ready!(many.as_mut().poll(cx)).map(|values| {
                Outcome::Many(values.into_iter().map(|(key, value)| (key, Arc::new(value))).collect())
            }),
            Self::Asked | Self::Done => unreachable!("asked above, and not polled after it was done"),
        };
        Poll::Ready(match result {
            Ok(outcome) => (outcome, Ending::Ok),
            Err(error) => (Outcome::Nothing(LookupError::Failed(Arc::new(error))), Ending::Failed),
        })
    }
}

type Ended<K, V, E> = (Outcome<K, V, E>, Ending);

/// Runs `f` in this context, as what rightly outlives it; a panic in it is reported there.
fn guarded<K, V, E, R>(f: impl FnOnce() -> R) -> Result<R, Ended<K, V, E>> {
    catch_panic(f).map_err(|mut panic| {
        panic.report();
        (Outcome::Nothing(LookupError::Panicked(panic.message().into())), Ending::Panicked)
    })
}

impl<K, V, E> Driver<K, V, E>
where
    K: Eq + Hash + Clone,
{
    /// Drops what is left of the lookup, where that belongs.
    fn drop_work(&mut self, context: LogContext) {
        let work = std::mem::replace(&mut self.work, Work::Done);
        let mut work = Some(work);
        let dropping = std::future::poll_fn(|_| {
            let work = work.take();
            let _ = guarded::<K, V, E, _>(|| drop(work));
            Poll::Ready(())
        });
        let _ = pin!(dropping.following(context)).poll(&mut Context::from_waker(std::task::Waker::noop()));
    }

    fn land(&mut self, (outcome, ending): Ended<K, V, E>) {
        self.inner.figures.ended(ending, self.started.elapsed());
        self.inner.land(&self.flight, outcome, ending);
    }
}

impl<K, V, E> Unpin for Driver<K, V, E> where K: Eq + Hash + Clone {}

impl<K, V, E> Future for Driver<K, V, E>
where
    K: Eq + Hash + Clone,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let context = self.flight.context();
        let Self { inner, flight, work, .. } = &mut *self;
        let step = std::future::poll_fn(|cx| match guarded(|| work.poll(&inner.lookup, &flight.keys, cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(ended)) | Err(ended) => Poll::Ready(ended),
        });
        let ended = ready!(pin!(step.following(context.clone())).poll(cx));
        self.drop_work(context);
        self.land(ended);
        Poll::Ready(())
    }
}

impl<K, V, E> Drop for Driver<K, V, E>
where
    K: Eq + Hash + Clone,
{
    fn drop(&mut self) {
        if let Work::Done = self.work {
            return;
        }
        self.drop_work(self.flight.context());
        let why = if self.inner.supervisor.is_shutting_down() {
            LookupError::ShuttingDown
        } else {
            LookupError::Cancelled
        };
        self.land((Outcome::Nothing(why), Ending::Cancelled));
    }
}

//! [`Find`] and [`Get`]: a hit at once, or a lookup to wait for. Written out, as the future of an async function would
//! cost more to move about than the hit itself.

use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::CachedLookup;
use super::entry::Answer;
use super::error::LookupError;

type Looking<'a, V, E> = Pin<Box<dyn Future<Output = Result<Option<Arc<V>>, LookupError<E>>> + Send + 'a>>;

/// The answer for a key, `None` where there is none.
pub(super) struct Find<'a, K, V, E> {
    cache: &'a CachedLookup<K, V, E>,
    /// Until it is known to be no hit.
    key: Option<K>,
    looking: Option<Looking<'a, V, E>>,
}

/// The same, where there must be one.
pub(super) struct Get<'a, K, V, E>(pub(super) Find<'a, K, V, E>);

impl<'a, K, V, E> Find<'a, K, V, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    #[inline]
    pub(super) fn new(cache: &'a CachedLookup<K, V, E>, key: K) -> Self {
        Self { cache, key: Some(key), looking: None }
    }

    #[inline]
    fn hit(&self) -> Option<Answer<V, E>> {
        self.cache.inner.hit(self.key.as_ref()?)
    }

    #[cold]
    fn look_up(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Arc<V>>, LookupError<E>>> {
        if let Some(key) = self.key.take() {
            self.looking = Some(Box::pin(self.cache.look_up(key)));
        }
        let Some(looking) = &mut self.looking else { panic!("polled after it was ready") };
        let poll = looking.as_mut().poll(cx);
        if poll.is_ready() {
            self.looking = None;
        }
        poll
    }
}

impl<K, V, E> Unpin for Find<'_, K, V, E> {}

impl<K, V, E> Unpin for Get<'_, K, V, E> {}

impl<K, V, E> Future for Find<'_, K, V, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<Option<Arc<V>>, LookupError<E>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.hit() {
            Some(answer) => Poll::Ready(answer.into_result()),
            None => self.look_up(cx),
        }
    }
}

impl<K, V, E> Future for Get<'_, K, V, E>
where
    K: Eq + Hash + Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<Arc<V>, LookupError<E>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.0.hit() {
            Some(Answer::Found(value)) => Poll::Ready(Ok(value)),
            Some(Answer::Absent) => Poll::Ready(Err(LookupError::Absent)),
            Some(Answer::Failed(error)) => Poll::Ready(Err(LookupError::Failed(error))),
            None => self.0.look_up(cx).map(|found| found?.ok_or(LookupError::Absent)),
        }
    }
}

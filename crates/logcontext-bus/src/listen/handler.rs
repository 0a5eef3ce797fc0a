//! What can handle events: functions of one argument or two, async or blocking.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use logcontext::{Background, Outcome};

use super::attempt::{Attempt, Failure};
use super::delivered::Delivered;
use crate::blocking::NotDone;
use crate::event::Event;
use crate::message::decode;

/// What handles events: an async function of the event, or of the event and what is known of it besides, [`Delivered`].
/// `A` tells which: the event, or both. Its output says whether it has failed, as [`Outcome`] does.
///
/// Closures say what they take: `|event: PresenceChanged| async move { .. }`.
pub trait EventHandler<A>: Send + Sync + 'static {
    /// What it handles.
    type Event: Event;
    /// What it ends with.
    type Output: Outcome + Send + 'static;
    /// What it does.
    type Future: Future<Output = Self::Output> + Send + 'static;

    /// Handles one.
    fn handle(&self, event: Self::Event, about: Delivered) -> Self::Future;
}

impl<E, F, Fut> EventHandler<E> for F
where
    E: Event,
    F: Fn(E) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Outcome + Send + 'static> + Send + 'static,
{
    type Event = E;
    type Output = Fut::Output;
    type Future = Fut;

    fn handle(&self, event: E, _: Delivered) -> Fut {
        self(event)
    }
}

impl<E, F, Fut> EventHandler<(E, Delivered)> for F
where
    E: Event,
    F: Fn(E, Delivered) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Outcome + Send + 'static> + Send + 'static,
{
    type Event = E;
    type Output = Fut::Output;
    type Future = Fut;

    fn handle(&self, event: E, about: Delivered) -> Fut {
        self(event, about)
    }
}

/// The same for functions that block: they run on threads that are there for it, never on an executor's, and may start a
/// runtime of their own.
pub trait BlockingEventHandler<A>: Send + Sync + 'static {
    /// What it handles.
    type Event: Event;
    /// What it ends with.
    type Output: Outcome + Send + 'static;

    /// Handles one.
    fn handle(&self, event: Self::Event, about: Delivered) -> Self::Output;
}

impl<E, F, O> BlockingEventHandler<E> for F
where
    E: Event,
    F: Fn(E) -> O + Send + Sync + 'static,
    O: Outcome + Send + 'static,
{
    type Event = E;
    type Output = O;

    fn handle(&self, event: E, _: Delivered) -> O {
        self(event)
    }
}

impl<E, F, O> BlockingEventHandler<(E, Delivered)> for F
where
    E: Event,
    F: Fn(E, Delivered) -> O + Send + Sync + 'static,
    O: Outcome + Send + 'static,
{
    type Event = E;
    type Output = O;

    fn handle(&self, event: E, about: Delivered) -> O {
        self(event, about)
    }
}

/// A handler of any kind.
pub(super) trait AnyHandler: Send + Sync {
    /// Begins one attempt, as a background process.
    fn begin(&self, attempt: Attempt) -> Background<()>;
}

/// On the executor.
pub(super) struct Async<A, H>(pub(super) Arc<H>, pub(super) PhantomData<fn(A)>);

impl<A: 'static, H: EventHandler<A>> AnyHandler for Async<A, H> {
    fn begin(&self, attempt: Attempt) -> Background<()> {
        let handler = Arc::clone(&self.0);
        attempt.begin(|attempt| async move {
            let event = attempt.read::<H::Event>()?;
            let output = handler.handle(event, attempt.about()).await;
            failure(&output)
        })
    }
}

/// On threads where it may block.
pub(super) struct Blocking<A, H>(pub(super) Arc<H>, pub(super) PhantomData<fn(A)>);

impl<A: 'static, H: BlockingEventHandler<A>> AnyHandler for Blocking<A, H> {
    fn begin(&self, attempt: Attempt) -> Background<()> {
        let handler = Arc::clone(&self.0);
        attempt.begin(|attempt| async move {
            let event = attempt.read::<H::Event>()?;
            let about = attempt.about();
            // What it answers is looked at there as well: it may be dropped there only.
            let handle = move || failure(&handler.handle(event, about));
            match attempt.threads().run(handle).await {
                Ok(result) => result,
                Err(NotDone::Panicked(panic)) => Err(Failure::Panicked(panic)),
                Err(NotDone::NoThread(error)) => Err(Failure::Error(format!("no thread for it: {error}"))),
            }
        })
    }
}

fn failure(output: &impl Outcome) -> Result<(), Failure> {
    output.failure().map_or(Ok(()), |error| Err(Failure::Error(error.to_string())))
}

/// # Errors
/// Which field is wrong, and what was expected.
pub(super) fn read<E: Event>(json: &[u8]) -> Result<E, String> {
    decode(json)
}

//! [`Interaction`]: a transaction that is tried until it goes through, or cannot.

mod attempts;
mod callbacks;
mod nested;
mod pending;
mod seat;
mod tally;

use std::future::{Future, poll_fn};
use std::panic::Location;
use std::pin::pin;
use std::task::Poll;

use logcontext::{Panic, catch_panic};

use crate::pool::Pool;
use crate::{Database, Error, Txn};
use attempts::Attempts;

pub(crate) use callbacks::Callbacks;
pub(crate) use nested::{held_around, look_around};
use seat::Left;
pub(crate) use seat::{Lease, Seat};
pub(crate) use tally::{Outcome, Sums, Tally, Transactions, collect, describe};

/// How well a transaction is kept apart from those beside it. PostgreSQL's levels; SQLite's transactions are always
/// serializable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// As if it were alone.
    Serializable,
}

/// A transaction in the making: see [`Database::interaction`].
#[derive(Debug)]
#[must_use = "nothing happens before `run`"]
pub struct Interaction<'a> {
    pub(crate) database: &'a Database,
    pub(crate) name: &'static str,
    pub(crate) origin: &'static Location<'static>,
    pub(crate) read_only: bool,
    pub(crate) isolation: Option<Isolation>,
    pub(crate) max_tries: u32,
}

impl Interaction<'_> {
    /// It only reads. On SQLite it does not wait for those that write then.
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// The isolation level, if not the server's own.
    pub fn isolation(mut self, level: Isolation) -> Self {
        self.isolation = Some(level);
        self
    }

    /// How often it is tried at most, the first time included.
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.max_tries = tries.max(1);
        self
    }

    /// Runs it: see [`Database::run_interaction`].
    ///
    /// # Errors
    /// What the closure answers, or the database, made into an error of the closure's.
    pub async fn run<T, E, F, Fut>(self, mut closure: F) -> Result<T, E>
    where
        F: FnMut(Txn) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        let mut attempts = Attempts::new(&self);
        let backend = self.database.backend();
        loop {
            let seat = match attempts.begin().await {
                Ok(Some(seat)) => seat,
                Ok(None) => continue,
                Err(error) => return Err(attempts.fail(error.into())),
            };
            // In a block of its own: calling the closure may panic before there is a future.
            let called = async { closure(Txn::new(seat, self.name, backend)).await };
            match catching(self.name, attempts.pool(), called).await {
                Ok(Ok(value)) => match attempts.commit().await {
                    Ok(()) => return Ok(value),
                    Err(None) => {}
                    Err(Some(error)) => return Err(attempts.fail(error.into())),
                },
                Ok(Err(error)) => {
                    if !attempts.roll_back().await {
                        return Err(attempts.fail(error));
                    }
                }
                Err(panic) => {
                    let panic = Unheard(Some(panic));
                    attempts.panicked().await;
                    panic.resume()
                }
            }
            attempts.pause().await;
        }
    }
}

async fn catching<F: Future>(name: &'static str, pool: &Pool, future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_panic(|| nested::inside(pool, name, || future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// A panic that is on its way to the caller. If that has gone meanwhile, it is reported here.
struct Unheard(Option<Panic>);

impl Unheard {
    fn resume(mut self) -> ! {
        match self.0.take() {
            Some(panic) => panic.resume(),
            None => unreachable!("there until now"),
        }
    }
}

impl Drop for Unheard {
    fn drop(&mut self) {
        if let Some(panic) = &mut self.0 {
            panic.report();
        }
    }
}

//! [`Attempts`]: the tries of one interaction, and what is left to be done when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use logcontext::LogContext;

use super::seat::{Left, Seat, ours};
use super::tally::{Outcome, Tally};
use super::{Callbacks, Interaction, Isolation};
use crate::database::payer;
use crate::error::Class;
use crate::pool::{Held, Pool};
use crate::{Backend, Error};

/// Before the second try; doubled before each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Attempts {
    pool: Arc<Pool>,
    begin: &'static str,
    max_tries: u32,
    context: LogContext,
    /// `None` once it has been concluded, or handed on.
    tally: Option<Tally>,
    /// Those of the last try. Forgotten when the next one begins.
    callbacks: Callbacks,
    phase: Phase,
}

enum Phase {
    /// Between two tries.
    Idle,
    /// The closure has the connection.
    Open(Arc<Seat>),
    /// The commit, or the rollback, is on its way: it goes on even if nobody waits for it.
    Ending { end: End, commits: bool },
}

type End = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send>>;

impl Attempts {
    pub(super) fn new(interaction: &Interaction<'_>) -> Self {
        let context = payer(interaction.name, interaction.origin);
        let database = interaction.database;
        let pool = Arc::clone(database.pool(interaction.read_only));
        let begin = begin(database.backend(), interaction.read_only, interaction.isolation);
        let tally = database.tally(interaction.name, &context);
        Self {
            pool,
            begin,
            max_tries: interaction.max_tries,
            context,
            tally: Some(tally),
            callbacks: Callbacks::default(),
            phase: Phase::Idle,
        }
    }

    /// Begins a try. `None` if another transaction was in the way, and there may be a next try.
    pub(super) async fn begin(&mut self) -> Result<Option<Arc<Seat>>, Error> {
        loop {
            let mut held = self.pool.acquire(&self.context).await?;
            self.tally().begins();
            match held.simple(self.begin).await {
                Ok(()) => {
                    held.in_transaction(true);
                    self.callbacks = Callbacks::default();
                    let seat = Seat::new(held);
                    self.phase = Phase::Open(Arc::clone(&seat));
                    return Ok(Some(seat));
                }
                // The server had gone while the connection was idle. Nothing was done yet: the next one, please.
                Err(_) if held.is_broken() && !held.is_new() => self.tally().forgets(),
                Err(error) => {
                    let conflict = Class::of(&error, held.backend()) == Class::Conflict;
                    let error = ours(error, held.backend(), &self.pool.settings);
                    held.release();
                    self.tally().ends();
                    if conflict && self.tries() < self.max_tries {
                        self.tell_of_retry(&error);
                        self.pause().await;
                        return Ok(None);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Commits. An error if that failed for good, none if it is worth another try.
    pub(super) async fn commit(&mut self) -> Result<(), Option<Error>> {
        let Some((mut held, left)) = self.take_seat() else { return Err(Some(Error::Interrupted)) };
        if left.interrupted {
            self.roll_back_held(held).await;
            return Err(Some(Error::Interrupted));
        }
        // PostgreSQL answers COMMIT of a failed transaction with a rollback, and calls that a success.
        if left.failed
            && held.backend() == Backend::Postgres
            && let Err(error) = held.simple("SELECT 1").await
        {
            let conflict = left.conflict;
            self.roll_back_held(held).await;
            return if conflict && self.may_try_again() { Err(None) } else { Err(Some(Error::Failed(error))) };
        }
        let backend = held.backend();
        match self.end(Box::pin(commit(held)), true).await {
            Ok(()) => {
                self.conclude(Outcome::Committed);
                Ok(())
            }
            Err(error) => {
                let conflict = Class::of(&error, backend) == Class::Conflict;
                let error = ours(error, backend, &self.pool.settings);
                if conflict && self.may_try_again() {
                    self.tell_of_retry(&error);
                    return Err(None);
                }
                Err(Some(error))
            }
        }
    }

    /// Rolls back. Answers whether it is worth another try.
    pub(super) async fn roll_back(&mut self) -> bool {
        let Some((held, left)) = self.take_seat() else { return false };
        self.roll_back_held(held).await;
        let again = left.conflict && self.may_try_again();
        if again {
            tracing::info!(
                target: "logcontext::db",
                transaction = self.name(),
                tries = self.tries(),
                "another transaction was in the way: trying again",
            );
        }
        again
    }

    pub(super) async fn panicked(&mut self) {
        if let Some((held, _)) = self.take_seat() {
            self.roll_back_held(held).await;
        }
        self.conclude(Outcome::Panicked);
    }

    /// It has failed for good: hands the error on.
    pub(super) fn fail<E>(&mut self, error: E) -> E {
        self.conclude(Outcome::Failed);
        error
    }

    /// Waits a little: each time longer, and not as long as others who wait.
    pub(super) async fn pause(&self) {
        let doubled = FIRST_PAUSE * 2_u32.saturating_pow(self.tries().saturating_sub(1).min(16));
        let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0);
        tokio::time::sleep(pause).await;
    }

    fn may_try_again(&self) -> bool {
        self.tries() < self.max_tries && !self.pool.is_closed()
    }

    fn tell_of_retry(&self, error: &Error) {
        tracing::info!(
            target: "logcontext::db",
            transaction = self.name(),
            tries = self.tries(),
            %error,
            "another transaction was in the way: trying again",
        );
    }

    fn take_seat(&mut self) -> Option<(Held, Left)> {
        let Phase::Open(seat) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        let (held, mut left) = seat.close();
        self.callbacks = std::mem::take(&mut left.callbacks);
        if held.is_none() {
            self.tally().ends();
        }
        Some((held?, left))
    }

    /// Drives the end of a try. If this is dropped, our own drop sees to it that it goes on.
    async fn end(&mut self, end: End, commits: bool) -> Result<(), sqlx::Error> {
        self.phase = Phase::Ending { end, commits };
        let result = std::future::poll_fn(|cx| match &mut self.phase {
            Phase::Ending { end, .. } => end.as_mut().poll(cx),
            Phase::Idle | Phase::Open(_) => unreachable!("set above, and nobody else is here"),
        })
        .await;
        self.phase = Phase::Idle;
        self.tally().ends();
        result
    }

    async fn roll_back_held(&mut self, held: Held) {
        let settle = async {
            held.settle().await;
            Ok(())
        };
        let _ = self.end(Box::pin(settle), false).await;
    }

    fn conclude(&mut self, outcome: Outcome) {
        if let Some(tally) = self.tally.take() {
            conclude(tally, std::mem::take(&mut self.callbacks), outcome);
        }
    }

    fn tally(&mut self) -> &mut Tally {
        self.tally.as_mut().expect("there until it is concluded, which is the last that happens")
    }

    fn tries(&self) -> u32 {
        self.tally.as_ref().map_or(0, Tally::tries)
    }

    fn name(&self) -> &'static str {
        self.tally.as_ref().map_or("", Tally::name)
    }
}

fn conclude(tally: Tally, callbacks: Callbacks, outcome: Outcome) {
    // First the books, so that a callback that looks at them finds them in order.
    tally.conclude(outcome);
    match outcome {
        Outcome::Committed => callbacks.committed(),
        Outcome::Failed | Outcome::Panicked | Outcome::Cancelled => callbacks.failed(),
    }
}

/// Nobody waits for it any more: it is ended in the background.
impl Drop for Attempts {
    fn drop(&mut self) {
        let Some(mut tally) = self.tally.take() else { return };
        let mut callbacks = std::mem::take(&mut self.callbacks);
        let can_run = tokio::runtime::Handle::try_current().is_ok();
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Open(seat) if can_run => {
                let (held, left) = seat.close();
                callbacks = left.callbacks;
                self.context.run_in_background(async move {
                    if let Some(held) = held {
                        held.settle().await;
                    }
                    tally.ends();
                    conclude(tally, callbacks, Outcome::Cancelled);
                });
            }
            Phase::Ending { end, commits } if can_run => {
                self.context.run_in_background(async move {
                    let outcome = match end.await {
                        Ok(()) if commits => Outcome::Committed,
                        _ => Outcome::Cancelled,
                    };
                    tally.ends();
                    conclude(tally, callbacks, outcome);
                });
            }
            Phase::Idle | Phase::Open(_) | Phase::Ending { .. } => {
                tally.ends();
                // Nothing has to be waited for: here and now. Drops run in the context that they belong to, if they
                // are a combinator's.
                conclude(tally, callbacks, Outcome::Cancelled);
            }
        }
    }
}

async fn commit(mut held: Held) -> Result<(), sqlx::Error> {
    let result = held.simple("COMMIT").await;
    if result.is_ok() {
        held.in_transaction(false);
        held.release();
    } else {
        held.settle().await;
    }
    result
}

fn begin(backend: Backend, read_only: bool, isolation: Option<Isolation>) -> &'static str {
    use Isolation::{ReadCommitted, RepeatableRead, Serializable};
    match (backend, read_only, isolation) {
        // Takes its turn to write at once: later on it could only fail.
        (Backend::Sqlite, false, _) => "BEGIN IMMEDIATE",
        (Backend::Sqlite, true, _) => "BEGIN",
        (Backend::Postgres, false, None) => "BEGIN",
        (Backend::Postgres, true, None) => "BEGIN READ ONLY",
        (Backend::Postgres, false, Some(ReadCommitted)) => "BEGIN ISOLATION LEVEL READ COMMITTED",
        (Backend::Postgres, true, Some(ReadCommitted)) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
        (Backend::Postgres, false, Some(RepeatableRead)) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        (Backend::Postgres, true, Some(RepeatableRead)) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        (Backend::Postgres, false, Some(Serializable)) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
        (Backend::Postgres, true, Some(Serializable)) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
    }
}

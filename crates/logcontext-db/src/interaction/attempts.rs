//! [`Attempts`]: the tries of one interaction, and what is left to be done when nobody waits for it any more.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use logcontext::LogContext;

use super::nested::look_around;
use super::pending::Pending;
use super::seat::{Left, Seat};
use super::tally::{Outcome, Tally};
use super::{Interaction, Isolation};
use crate::database::payer;
use crate::error::{Class, ours};
use crate::follower::follow;
use crate::pool::{Held, Pool};
use crate::{Backend, Error};

/// Before the second try; doubled before each that follows.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Attempts {
    pool: Arc<Pool>,
    begin: &'static str,
    read_only: bool,
    max_tries: u32,
    context: LogContext,
    /// `None` once it has been concluded, or handed on.
    pending: Option<Pending>,
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
        look_around(&pool, &context, interaction.name, interaction.origin);
        let begin = begin(database.backend(), interaction.read_only, interaction.isolation);
        let sums = Arc::clone(database.sums(interaction.name));
        let slow = database.settings().slow_transaction;
        let pending = Pending::new(Tally::new(interaction.name, context.clone(), sums, slow));
        Self {
            pool,
            begin,
            read_only: interaction.read_only,
            max_tries: interaction.max_tries,
            context,
            pending: Some(pending),
            phase: Phase::Idle,
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Begins a try. `None` if another transaction was in the way, and there may be a next try.
    pub(super) async fn begin(&mut self) -> Result<Option<Arc<Seat>>, Error> {
        loop {
            let mut held = self.pool.acquire(&self.context, self.name()).await?;
            self.pending().tally().begins(held.since());
            match held.begin(self.begin, self.read_only).await {
                Ok(()) => {
                    let seat = Seat::new(held);
                    self.phase = Phase::Open(Arc::clone(&seat));
                    return Ok(Some(seat));
                }
                // The server had gone while the connection was idle. Nothing was done yet: the next one, please.
                Err(_) if held.is_broken() && !held.is_new() => self.pending().tally().forgets(),
                Err(error) => {
                    let conflict = Class::of(&error, held.backend()) == Class::Conflict;
                    let error = ours(error, held.backend(), &self.pool.settings);
                    held.release();
                    self.pending().tally().ends();
                    if conflict && self.may_try_again() {
                        self.tell_of_retry(Some(&error));
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
        let Some((mut held, mut left)) = self.take_seat() else { return Err(Some(Error::Interrupted)) };
        if left.interrupted {
            self.roll_back_held(held).await;
            return Err(Some(Error::Interrupted));
        }
        if let Some(error) = failed(&mut held, &mut left).await {
            self.roll_back_held(held).await;
            let again = left.conflict && self.may_try_again();
            if again {
                self.tell_of_retry(Some(&error));
            }
            return Err((!again).then_some(error));
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
                    self.tell_of_retry(Some(&error));
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
            self.tell_of_retry(None);
        }
        again
    }

    pub(super) async fn panicked(&mut self) {
        self.pending().otherwise(Outcome::Panicked);
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
    pub(super) async fn pause(&mut self) {
        let doubled = FIRST_PAUSE * 2_u32.saturating_pow(self.pending().tries().saturating_sub(1).min(16));
        let pause = doubled.min(LONGEST_PAUSE).mul_f64(0.5 + fastrand::f64() / 2.0);
        tokio::time::sleep(pause).await;
    }

    fn may_try_again(&mut self) -> bool {
        self.pending().tries() < self.max_tries && !self.pool.is_closed()
    }

    fn tell_of_retry(&mut self, error: Option<&Error>) {
        let pending = self.pending();
        tracing::info!(
            target: "logcontext::db",
            transaction = pending.name(),
            tries = pending.tries(),
            error = error.map(tracing::field::display),
            "another transaction was in the way: trying again",
        );
    }

    fn take_seat(&mut self) -> Option<(Held, Left)> {
        let Phase::Open(seat) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        let (held, mut left) = seat.close();
        self.pending().take_callbacks(&mut left);
        if held.is_none() {
            self.pending().tally().ends();
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
        self.pending().tally().ends();
        result
    }

    fn name(&self) -> &'static str {
        self.pending.as_ref().map_or("", Pending::name)
    }

    async fn roll_back_held(&mut self, held: Held) {
        let settle = async {
            held.settle().await;
            Ok(())
        };
        let _ = self.end(Box::pin(settle), false).await;
    }

    fn conclude(&mut self, outcome: Outcome) {
        if let Some(pending) = self.pending.take() {
            pending.conclude(outcome);
        }
    }

    fn pending(&mut self) -> &mut Pending {
        self.pending.as_mut().expect("there until it is concluded, which is the last that happens")
    }
}

/// Nobody waits for it any more: it is ended in the background.
impl Drop for Attempts {
    fn drop(&mut self) {
        let Some(mut pending) = self.pending.take() else { return };
        // Without a runtime all is dropped here and now, and with it what is pending is concluded.
        let can_run = tokio::runtime::Handle::try_current().is_ok();
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Idle => {}
            Phase::Open(seat) => {
                let (held, mut left) = seat.close();
                pending.take_callbacks(&mut left);
                if let (Some(held), true) = (held, can_run) {
                    follow(&self.context, async move {
                        held.settle().await;
                        drop(pending);
                    });
                }
            }
            Phase::Ending { end, commits } if can_run => follow(&self.context, async move {
                if end.await.is_ok() && commits {
                    pending.conclude(Outcome::Committed);
                }
            }),
            Phase::Ending { .. } => {}
        }
    }
}

/// What the transaction has failed of, though its closure says that all went well.
async fn failed(held: &mut Held, left: &mut Left) -> Option<Error> {
    if left.rolled_back {
        return Some(Error::Failed { cause: left.cause() });
    }
    if left.failed.is_none() || held.backend() != Backend::Postgres {
        return None;
    }
    // PostgreSQL answers COMMIT of a failed transaction with a rollback, and calls that a success.
    let error = held.simple("SELECT 1").await.err()?;
    Some(match Class::of(&error, Backend::Postgres) {
        Class::Lost => Error::ConnectionLost(error),
        _ => Error::Failed { cause: left.cause() },
    })
}

async fn commit(mut held: Held) -> Result<(), sqlx::Error> {
    let result = held.simple("COMMIT").await;
    if result.is_ok() {
        // Before the answer, so that whoever gets it finds its costs and its connection in order.
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

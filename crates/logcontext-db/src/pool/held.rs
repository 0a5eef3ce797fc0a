//! [`Held`]: a connection that somebody uses, and that finds its way back whatever happens to them.

use std::borrow::Borrow;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use logcontext::{LogContext, current_context};
use tokio::time::timeout;

use super::Pool;
use super::leaving::Leaving;
use super::lent::Lent;
use crate::Backend;
use crate::connection::Connection;
use crate::error::{Class, is_statement_timeout};

/// A connection in use. Given back by [`release`](Self::release). One that is dropped was in the middle of
/// something: that is ended in the background first, for the context that had begun it.
pub(crate) struct Held<C: Borrow<LogContext> = LogContext> {
    lent: Option<Lent>,
    /// Since when.
    since: Instant,
    /// Whose it is: borrowed where they are there as long as this is.
    context: C,
    /// Who has asked for the statement that runs, if not that context but a part of it.
    asker: Option<LogContext>,
    state: State,
}

/// What the connection is in the middle of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    pub(super) in_flight: bool,
    pub(super) in_transaction: bool,
    /// The connection is of no more use.
    pub(super) broken: bool,
}

const HELD: &str = "held until it is released, which takes it";

impl State {
    fn is_clean(self) -> bool {
        !(self.in_flight || self.in_transaction || self.broken)
    }
}

impl<C: Borrow<LogContext>> Held<C> {
    #[inline]
    pub(super) fn new(lent: Lent, context: C, since: Instant) -> Self {
        Self { lent: Some(lent), since, context, asker: None, state: State::default() }
    }

    pub(crate) fn backend(&self) -> Backend {
        self.pool().opener.backend()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        self.lent.as_ref().expect(HELD).pool()
    }

    /// Since when it is held.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Was it opened for us, and never used?
    pub(crate) fn is_new(&self) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.connection().is_new)
    }

    /// The connection, for one statement. [`done`](Self::done) must follow: if it does not, the statement was
    /// dropped half-way.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.state.in_flight = true;
        self.lent.as_mut().expect(HELD).connection_mut()
    }

    /// The statement has ended.
    pub(crate) fn done<T>(&mut self, result: &Result<T, sqlx::Error>) {
        self.state.in_flight = false;
        let Err(error) = result else { return };
        match Class::of(error, self.backend()) {
            Class::Lost => self.lost(),
            Class::Cancelled if is_statement_timeout(error, &self.pool().settings) => {
                self.pool().figures.statement_timeouts.fetch_add(1, Relaxed);
            }
            Class::Cancelled | Class::Conflict | Class::Other => {}
        }
    }

    fn lost(&mut self) {
        self.state.broken = true;
        self.pool().figures.lost.fetch_add(1, Relaxed);
        self.pool().health.doubt();
    }

    /// Runs a statement without arguments and results.
    pub(crate) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let result = self.connection().simple(sql).await;
        self.done(&result);
        result
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&mut self, sql: &'static str, read_only: bool) -> Result<(), sqlx::Error> {
        self.only_reads(read_only).await?;
        let result = self.connection().begin(sql).await;
        self.done(&result);
        self.state.in_transaction = result.is_ok();
        result
    }

    /// Is it known to be so already that what follows may only read, or may write as well? See `only_reads`.
    pub(crate) fn is_told(&self, read_only: bool) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.connection().is_told(read_only))
    }

    /// What follows may only read, or may write as well: where the connection can be told.
    pub(crate) async fn only_reads(&mut self, read_only: bool) -> Result<(), sqlx::Error> {
        if self.is_told(read_only) {
            return Ok(());
        }
        let result = self.connection().only_reads(read_only).await;
        self.done(&result);
        result
    }

    /// Has the database ended the transaction by itself?
    pub(crate) fn has_rolled_back(&self) -> bool {
        self.lent.as_ref().is_some_and(|lent| lent.connection().has_rolled_back())
    }

    /// A statement follows that the current context asks for: it pays for what the driver burns, even if it is not
    /// the one that the transaction is charged to.
    pub(crate) fn asked_for(&mut self) {
        if self.backend() != Backend::Sqlite {
            return;
        }
        let current = current_context();
        if current != *self.context.borrow() && !current.is_sentinel() {
            if let Some(lent) = &self.lent {
                lent.connection().charge(self.context.borrow());
            }
            self.asker = Some(current);
        }
    }

    /// That statement has been answered, or nobody waits for it any more.
    pub(crate) fn answered(&mut self) {
        if let (Some(asker), Some(lent)) = (self.asker.take(), &self.lent) {
            lent.connection().charge(&asker);
        }
    }

    /// From now on, or no more, a transaction is open on it: what is left open is rolled back.
    pub(crate) fn in_transaction(&mut self, is_open: bool) {
        self.state.in_transaction = is_open;
    }

    /// Asks the server whether it is still there.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let limit = self.pool().settings.ping_timeout();
        match timeout(limit, self.connection().ping()).await {
            Ok(result) => {
                self.done(&result);
                result.is_ok()
            }
            Err(_) => {
                self.lost();
                self.pool().health.condemn();
                false
            }
        }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.state.broken
    }

    /// Was a statement dropped before it had ended?
    pub(crate) fn is_in_flight(&self) -> bool {
        self.state.in_flight
    }

    /// Asks what is running to stop, where that needs no waiting.
    pub(crate) fn interrupt(&self) {
        if let Some(lent) = &self.lent {
            lent.connection().interrupt();
        }
    }

    /// Gives it back: to the pool at once, or, if it was left in the middle of something, once that has been ended.
    pub(crate) fn release(self) {
        drop(self);
    }

    /// Ends what it is in the middle of, and gives it back.
    pub(crate) async fn settle(mut self) {
        self.answered();
        if let Some(lent) = self.lent.take() {
            Leaving::new(lent, self.context.borrow(), self.state).settle().await;
        }
    }

    /// The same, for whoever knows already what time it is. It must not be used any more.
    pub(crate) fn give_back(&mut self, now: Instant) {
        self.answered();
        let Some(mut lent) = self.lent.take() else { return };
        if self.state.is_clean() && !lent.pool().is_closed() {
            let connection = lent.connection_mut();
            connection.charge(self.context.borrow());
            connection.used = now;
            // Given back by its drop; closed by it, if the pool has been closed just now.
            return;
        }
        if self.state.in_flight {
            lent.connection().interrupt();
        }
        Leaving::new(lent, self.context.borrow(), self.state).go();
    }
}

impl<C: Borrow<LogContext>> Drop for Held<C> {
    fn drop(&mut self) {
        if self.lent.is_some() {
            self.give_back(Instant::now());
        }
    }
}

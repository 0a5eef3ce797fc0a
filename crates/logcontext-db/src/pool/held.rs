//! [`Held`]: a connection that somebody uses, and that finds its way back whatever happens to them.

use std::sync::Arc;
use std::time::Instant;

use deadpool::managed::Object as Pooled;
use logcontext::LogContext;

use super::{Object, Pool};
use crate::Backend;
use crate::connection::Connection;
use crate::error::Class;

/// A connection in use. Given back by [`release`](Self::release). One that is dropped was in the middle of
/// something: that is ended in the background first, for the context that had begun it.
pub(crate) struct Held {
    object: Option<Object>,
    pool: Arc<Pool>,
    context: LogContext,
    state: State,
}

/// What the connection is in the middle of.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    in_flight: bool,
    in_transaction: bool,
    broken: bool,
}

impl State {
    fn is_clean(self) -> bool {
        !(self.in_flight || self.in_transaction || self.broken)
    }
}

impl Held {
    pub(super) fn new(object: Object, pool: &Arc<Pool>, context: &LogContext) -> Self {
        let (pool, context) = (Arc::clone(pool), context.clone());
        Self { object: Some(object), pool, context, state: State::default() }
    }

    pub(crate) fn backend(&self) -> Backend {
        self.pool.objects.manager().opener().backend()
    }

    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Was it opened for us, and never used?
    pub(crate) fn is_new(&self) -> bool {
        self.object.as_ref().is_some_and(|object| object.is_new)
    }

    /// The connection, for one statement. [`done`](Self::done) must follow: if it does not, the statement was
    /// dropped half-way.
    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.state.in_flight = true;
        self.object.as_deref_mut().expect("held until it is released, which takes it")
    }

    /// The statement has ended.
    pub(crate) fn done<T>(&mut self, result: &Result<T, sqlx::Error>) {
        self.state.in_flight = false;
        if let Err(error) = result
            && Class::of(error, self.backend()) == Class::Lost
        {
            self.state.broken = true;
            self.pool.figures.lost.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.pool.doubt();
        }
    }

    /// Runs a statement without arguments and results.
    pub(crate) async fn simple(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let result = self.connection().simple(sql).await;
        self.done(&result);
        result
    }

    /// From now on, or no more, a transaction is open on it: what is left open is rolled back.
    pub(crate) fn in_transaction(&mut self, is_open: bool) {
        self.state.in_transaction = is_open;
    }

    /// Asks the server whether it is still there.
    pub(crate) async fn is_alive(&mut self) -> bool {
        let result = self.connection().ping().await;
        self.done(&result);
        result.is_ok()
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
        if let Some(object) = &self.object {
            object.interrupt();
        }
    }

    /// Gives it back: to the pool at once, or, if it was left in the middle of something, once that has been ended.
    pub(crate) fn release(mut self) {
        self.give_back();
    }

    /// Ends what it is in the middle of, and gives it back.
    pub(crate) async fn settle(mut self) {
        if let Some(object) = self.object.take() {
            let leaving = Leaving { object: Some(object), pool: Arc::clone(&self.pool) };
            leaving.settle(&self.context, self.state).await;
        }
    }

    fn give_back(&mut self) {
        let Some(mut object) = self.object.take() else { return };
        if self.state.is_clean() && !self.pool.is_closed() {
            object.charge(&self.context);
            object.used = Instant::now();
            return;
        }
        if self.state.in_flight {
            object.interrupt();
        }
        let leaving = Leaving { object: Some(object), pool: Arc::clone(&self.pool) };
        if tokio::runtime::Handle::try_current().is_err() {
            // Nobody is there to end anything politely: the connection is cut, and the server ends the rest.
            return;
        }
        let (context, state) = (self.context.clone(), self.state);
        self.context.run_in_background(async move { leaving.settle(&context, state).await });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A connection that is not fit for the pool yet. If this is dropped, it never will be.
struct Leaving {
    object: Option<Object>,
    pool: Arc<Pool>,
}

impl Leaving {
    async fn settle(mut self, context: &LogContext, state: State) {
        let Some(object) = self.object.as_mut() else { return };
        let is_fit = !state.broken && object.settle(state.in_flight, state.in_transaction).await;
        object.charge(context);
        if is_fit && !self.pool.is_closed() {
            object.used = Instant::now();
            // Given back by its drop.
            self.object = None;
            return;
        }
        if let Some(object) = self.object.take() {
            // Its place is free from here on: who waits for it need not wait for the goodbye as well.
            let mut connection = Pooled::take(object);
            connection.close().await;
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Pooled::take(object));
        }
    }
}

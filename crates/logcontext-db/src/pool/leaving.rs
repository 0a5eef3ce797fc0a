//! [`Leaving`]: a connection that was left in the middle of something, on its way back to the pool or out of it.

use std::time::Instant;

use logcontext::{FutureExt as _, LogContext};
use tokio::runtime::Handle;

use super::held::State;
use super::lent::Lent;

/// A connection that is not fit for the pool yet. What it is in the middle of is ended; and if that is itself dropped
/// half-way, it is ended further on:
pub(super) struct Leaving {
    lent: Option<Lent>,
    context: LogContext,
    state: State,
    by: By,
}

/// who ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Somebody who waits for it.
    Caller,
    /// A follower of the context, of which a shutdown knows, until its deadline.
    Follower,
    /// Nobody but us: whoever closes the database waits for it.
    Database,
}

impl Leaving {
    pub(super) fn new(lent: Lent, context: &LogContext, state: State) -> Self {
        Self { lent: Some(lent), context: context.clone(), state, by: By::Caller }
    }

    pub(super) async fn settle(mut self) {
        let Some(lent) = self.lent.as_mut() else { return };
        let State { in_flight, in_transaction, .. } = self.state;
        // Until this is done: whoever takes it on from here finds something running.
        self.state.in_flight = true;
        let is_fit = !self.state.broken && lent.connection_mut().settle(in_flight, in_transaction).await;
        lent.connection().charge(&self.context);
        self.state = State { broken: !is_fit, ..State::default() };
        if is_fit && !lent.pool().is_closed() {
            lent.connection_mut().used = Instant::now();
            // Given back by its drop.
            self.lent = None;
            return;
        }
        if let Some(lent) = self.lent.take() {
            // Its place is free from here on: who waits for it need not wait for the goodbye as well.
            lent.take().close().await;
        }
    }

    /// Ends it in the background.
    pub(super) fn go(mut self) {
        if self.state.broken {
            return self.cut();
        }
        let Some(runtime) = self.lent.as_ref().map(|lent| lent.pool().runtime()) else { return };
        // Not where we are inside already: while tokio drops what it refuses to run, it cannot be entered.
        let _inside = Handle::try_current().is_err().then(|| runtime.enter());
        let context = self.context.clone();
        // Nobody's work is a follower of nobody.
        if self.by == By::Caller && !context.is_sentinel() {
            self.by = By::Follower;
            // Refused after the deadline of a shutdown, and dropped: it is back here then.
            drop(context.run_in_background(self.settle()));
        } else if self.by != By::Database {
            self.by = By::Database;
            #[expect(clippy::disallowed_methods, reason = "counted: who closes the database waits for it")]
            runtime.spawn(self.settle().following(context));
        } else {
            // No runtime runs it any more: the server ends the rest when it finds us gone.
            self.cut();
        }
    }

    fn cut(mut self) {
        if let Some(lent) = self.lent.take() {
            lent.take().cut();
        }
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(lent) = self.lent.take() {
            let context = std::mem::take(&mut self.context);
            Self { lent: Some(lent), context, state: self.state, by: self.by }.go();
        }
    }
}

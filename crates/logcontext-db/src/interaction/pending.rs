//! [`Pending`]: a transaction whose end is still to come, and what is to be done then.

use futures_util::FutureExt as _;
use logcontext::{FutureExt as _, current_context};

use super::tally::{Outcome, Tally};
use super::{Callbacks, Left};

/// Concluded once, on every way out: if nobody does so, by its drop.
pub(super) struct Pending {
    /// `None` once it has been concluded.
    tally: Option<Tally>,
    /// Those of the last try that is over.
    callbacks: Callbacks,
    /// How it has ended if nobody says anything else.
    otherwise: Outcome,
}

impl Pending {
    pub(super) fn new(tally: Tally) -> Self {
        Self { tally: Some(tally), callbacks: Callbacks::default(), otherwise: Outcome::Cancelled }
    }

    pub(super) fn tally(&mut self) -> &mut Tally {
        self.tally.as_mut().expect("there until it is concluded, which takes it")
    }

    pub(super) fn tries(&self) -> u32 {
        self.tally.as_ref().map_or(0, Tally::tries)
    }

    pub(super) fn name(&self) -> &'static str {
        self.tally.as_ref().map_or("", Tally::name)
    }

    /// A try is over: what the one before had left is forgotten.
    pub(super) fn take_callbacks(&mut self, left: &mut Left) {
        self.callbacks = std::mem::take(&mut left.callbacks);
    }

    pub(super) fn otherwise(&mut self, outcome: Outcome) {
        self.otherwise = outcome;
    }

    pub(super) fn conclude(mut self, outcome: Outcome) {
        self.otherwise = outcome;
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Some(tally) = self.tally.take() else { return };
        let context = tally.context().clone();
        let (outcome, callbacks) = (self.otherwise, std::mem::take(&mut self.callbacks));
        // First the books, so that a callback that looks at them finds them in order.
        tally.conclude(outcome);
        if callbacks.is_empty() {
            return;
        }
        let run = || match outcome {
            Outcome::Committed => callbacks.committed(),
            Outcome::Failed | Outcome::Panicked | Outcome::Cancelled => callbacks.failed(),
        };
        if current_context() == context {
            return run();
        }
        // Somebody else has dropped the future, perhaps later than the context has finished: they are its followers.
        let _ = async move { run() }.following(context).now_or_never();
    }
}

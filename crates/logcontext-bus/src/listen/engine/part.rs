//! What a listener listens to by one subscription: all of it, or a partition that it has leased.

use std::sync::Arc;

use tokio::time::Instant;

use crate::transport::{DeliveryId, Lease, Subscription};

#[derive(Debug, Default)]
pub(super) struct Part {
    /// Counts how often it was its own: an answer to what was asked before is none.
    pub(super) epoch: u64,
    pub(super) phase: Phase,
    pub(super) subscription: Option<Arc<dyn Subscription>>,
    pub(super) lease: Option<Leased>,
    /// It has become another's: there is nothing to be left for others, they have it.
    pub(super) is_lost: bool,
    /// To be acknowledged.
    pub(super) done: Vec<DeliveryId>,
    /// To be left for others.
    pub(super) left: Vec<DeliveryId>,
    /// The same, of what was never begun here.
    pub(super) given_back: Vec<DeliveryId>,
    pub(super) is_acknowledging: bool,
    pub(super) is_renewing: bool,
    /// So many commands are on their way that must get there before its end.
    pub(super) busy: usize,
    /// So many events it has, those included that are being acknowledged.
    pub(super) held: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// It is not its own.
    #[default]
    Free,
    /// It is leased, and being subscribed to.
    Taking,
    Open,
    /// It brings nothing more, but for what is on its way.
    Ending,
    /// It brings nothing more.
    Ended,
}

/// A lease that it has.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) lease: Arc<dyn Lease>,
    /// Nothing is done by it any more from then on.
    pub(super) until: Instant,
    pub(super) is_renewing: bool,
}

impl Part {
    /// All of it, by one subscription.
    pub(super) fn whole(subscription: Arc<dyn Subscription>) -> Self {
        Self { phase: Phase::Open, subscription: Some(subscription), ..Self::default() }
    }

    /// Is it its own, or will be?
    pub(super) fn is_ours(&self) -> bool {
        matches!(self.phase, Phase::Taking | Phase::Open) && !self.is_lost
    }

    /// Has it ended, and nothing of it is left?
    pub(super) fn is_through(&self) -> bool {
        self.phase == Phase::Ended
            && self.held == 0
            && self.busy == 0
            && self.done.is_empty()
            && self.left.is_empty()
            && self.given_back.is_empty()
    }
}

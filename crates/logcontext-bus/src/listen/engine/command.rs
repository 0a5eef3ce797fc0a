//! What the loop asks of the transport. It polls its commands itself, beside everything else, and waits for none.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::transport::{DeliveryId, Lease, Subscription, TransportError};

type Answer<T> = Result<T, TransportError>;

/// What has become of a command.
#[derive(Debug)]
pub(super) enum Did {
    Acknowledge { part: usize, ids: Vec<DeliveryId>, answer: Answer<()> },
    Renew { part: usize, epoch: u64, answer: Answer<Vec<DeliveryId>> },
    Release { part: usize, answer: Answer<()> },
    Bury { part: usize, id: DeliveryId, answer: Answer<()> },
    Stop { part: usize },
    TakePart { answer: Answer<usize> },
    Leave,
    Acquire { part: usize, begun: Instant, answer: Answer<Option<Arc<dyn Lease>>> },
    Subscribe { part: usize, answer: Answer<Arc<dyn Subscription>> },
    RenewLease { part: usize, epoch: u64, begun: Instant, answer: Answer<bool> },
    ReleaseLease,
}

/// Those that are on their way.
pub(super) type Commands = FuturesUnordered<Pin<Box<dyn Future<Output = Did> + Send>>>;

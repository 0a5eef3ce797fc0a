//! A consumer, as a listener would be.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::case::soon;
use super::peer::{Peer, number};
use crate::transport::{DeadLetter, Delivery, DeliveryId, Since, Subscribe, Subscription};

/// So long a claim holds that nobody must lose.
const LONG: Duration = Duration::from_secs(600);

/// What a consumer is to be like.
pub(crate) struct Wish<'a> {
    peer: &'a Peer,
    event: &'a str,
    group: &'a str,
    slots: usize,
    partitions: Vec<u16>,
    is_leased: bool,
    with_retried: bool,
    since: Since,
    claim_after: Duration,
}

/// A consumer.
pub(crate) struct Listener {
    pub(crate) subscription: Arc<dyn Subscription>,
    pub(crate) deliveries: mpsc::UnboundedReceiver<Delivery>,
    pub(crate) slots: Arc<Semaphore>,
    group: Arc<str>,
}

impl<'a> Wish<'a> {
    pub(crate) fn new(peer: &'a Peer, event: &'a str, group: &'a str) -> Self {
        Self {
            peer,
            event,
            group,
            slots: 100,
            partitions: vec![0],
            is_leased: false,
            with_retried: true,
            since: Since::Now,
            claim_after: LONG,
        }
    }

    pub(crate) fn event(mut self, event: &'a str) -> Self {
        self.event = event;
        self
    }

    pub(crate) fn slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    pub(crate) fn partitions(mut self, partitions: impl IntoIterator<Item = u16>) -> Self {
        self.partitions = partitions.into_iter().collect();
        self
    }

    pub(crate) fn leased(mut self) -> Self {
        self.is_leased = true;
        self
    }

    pub(crate) fn since_start(mut self) -> Self {
        self.since = Since::Start;
        self
    }

    pub(crate) fn claim_after(mut self, claim_after: Duration) -> Self {
        self.claim_after = claim_after;
        self
    }

    pub(crate) async fn listen(self) -> Listener {
        let (sender, deliveries) = mpsc::unbounded_channel();
        let slots = Arc::new(Semaphore::new(self.slots));
        let group: Arc<str> = self.group.into();
        let wish = Subscribe {
            event: self.event.into(),
            group: Arc::clone(&group),
            partitions: self.partitions,
            is_leased: self.is_leased,
            with_retried: self.with_retried,
            since: self.since,
            claim_after: self.claim_after,
            slots: Arc::clone(&slots),
            deliveries: sender,
        };
        let subscription = soon("listening begins", self.peer.transport.events().subscribe(wish)).await;
        Listener { subscription: subscription.expect("listening begins"), deliveries, slots, group }
    }
}

impl Listener {
    /// The next event, which must come.
    pub(crate) async fn next(&mut self) -> Delivery {
        soon("an event comes", self.deliveries.recv()).await.expect("the consumer lives")
    }

    /// The next so many, by their numbers; they stay in hand.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count {
            taken.push(self.next().await);
        }
        taken
    }

    /// The next one is done at once; its number.
    pub(crate) async fn handle(&mut self) -> u64 {
        let delivery = self.next().await;
        self.acknowledge([delivery.id]).await;
        number(&delivery.message)
    }

    /// The next so many are done at once.
    pub(crate) async fn handle_all(&mut self, count: usize) -> Vec<u64> {
        let mut handled = Vec::with_capacity(count);
        while handled.len() < count {
            handled.push(self.handle().await);
        }
        handled
    }

    pub(crate) async fn acknowledge(&self, ids: impl IntoIterator<Item = DeliveryId>) {
        let done = self.subscription.acknowledge(ids.into_iter().collect());
        soon("it is acknowledged", done).await.expect("it is acknowledged");
    }

    /// Those that are others' now.
    pub(crate) async fn renew(&self, ids: impl IntoIterator<Item = DeliveryId>) -> Vec<DeliveryId> {
        let renewed = self.subscription.renew(ids.into_iter().collect());
        soon("it is renewed", renewed).await.expect("it is renewed")
    }

    pub(crate) async fn give_back(&self, ids: impl IntoIterator<Item = DeliveryId>) {
        let given_back = self.subscription.give_back(ids.into_iter().collect());
        soon("it is given back", given_back).await.expect("it is given back");
    }

    pub(crate) async fn release(&self, ids: impl IntoIterator<Item = DeliveryId>) {
        let released = self.subscription.release(ids.into_iter().collect());
        soon("it is released", released).await.expect("it is released");
    }

    /// It becomes a dead letter.
    pub(crate) async fn bury(&self, delivery: Delivery, reason: &str) -> DeadLetter {
        let letter = DeadLetter {
            group: Arc::clone(&self.group),
            reason: reason.to_owned(),
            deliveries: delivery.deliveries,
            message: delivery.message,
        };
        let buried = self.subscription.bury(delivery.id, letter.clone());
        soon("it is buried", buried).await.expect("it is buried");
        letter
    }

    pub(crate) async fn stop(&self) {
        soon("listening ends", self.subscription.stop()).await.expect("listening ends");
    }

    /// As if its process had died, with all that it had.
    pub(crate) fn die(self) {}
}

/// Their numbers.
pub(crate) fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| number(&delivery.message)).collect()
}

/// Their ids.
pub(crate) fn ids(deliveries: &[Delivery]) -> Vec<DeliveryId> {
    deliveries.iter().map(|delivery| delivery.id).collect()
}

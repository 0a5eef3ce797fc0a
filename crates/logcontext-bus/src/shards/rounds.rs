//! Sharing shards with all who take part.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use logcontext::Outcome;
use logcontext::background::Process;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Shard;
use super::figures::Figures;
use super::hold::Hold;
use crate::bus::Inner;
use crate::kept_lease::KeptLease;
use crate::transport::TransportError;

pub(super) struct Rounds<F> {
    pub(super) inner: Arc<Inner>,
    pub(super) lease: String,
    /// What runs each of them.
    pub(super) shards: Vec<Process>,
    pub(super) run: F,
    pub(super) figures: Arc<Figures>,
    pub(super) stop: CancellationToken,
}

/// What is held, and how each is told to end.
type Held = BTreeMap<u16, CancellationToken>;

impl<F, Fut> Rounds<F>
where
    F: Fn(Shard) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Outcome + Send + 'static,
{
    /// Until it is told to stop, and nothing is held any more.
    pub(super) async fn run(self) {
        let (tell, mut ended) = mpsc::unbounded_channel();
        let mut held = Held::new();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => {}
            () = self.inner.closing.cancelled() => {}
            () = self.inner.supervisor.shutting_down() => {}
            () = self.rounds(&mut held, &tell, &mut ended) => {}
        }
        held.values().for_each(CancellationToken::cancel);
        drop(tell);
        // Each of them has one to tell by: when none is left, all have ended.
        while ended.recv().await.is_some() {}
        let _ = timeout(self.time(), self.inner.transport.leases().leave(&self.lease)).await;
    }

    /// Until the bus is closed.
    async fn rounds(&self, held: &mut Held, tell: &UnboundedSender<u16>, ended: &mut UnboundedReceiver<u16>) {
        loop {
            let next = Instant::now() + self.time() / 3;
            if let Ok(Err(TransportError::Closed)) = timeout(self.time(), self.round(held, tell, ended)).await
            {
                return;
            }
            sleep_until(next).await;
        }
    }

    async fn round(
        &self,
        held: &mut Held,
        tell: &UnboundedSender<u16>,
        ended: &mut UnboundedReceiver<u16>,
    ) -> Result<(), TransportError> {
        let parts = self.inner.transport.leases().take_part(&self.lease, self.time()).await?;
        while let Ok(number) = ended.try_recv() {
            held.remove(&number);
        }
        let share = self.shards.len().div_ceil(parts.max(1));
        let beyond = held.values().filter(|lost| !lost.is_cancelled()).skip(share);
        beyond.for_each(CancellationToken::cancel);
        let mut free: Vec<u16> =
            (0..self.shards.len() as u16).filter(|number| !held.contains_key(number)).collect();
        fastrand::shuffle(&mut free);
        for number in free {
            // One that is told to end is still held.
            if held.len() >= share {
                break;
            }
            self.take(number, held, tell).await?;
        }
        Ok(())
    }

    async fn take(
        &self,
        number: u16,
        held: &mut Held,
        tell: &UnboundedSender<u16>,
    ) -> Result<(), TransportError> {
        let (since, name) = (Instant::now(), format!("{} {number}", self.lease));
        let Some(lease) = self.inner.transport.leases().acquire(&name, self.time()).await? else {
            return Ok(());
        };
        let shard = Shard { number, count: self.shards.len() as u16, lost: CancellationToken::new() };
        held.insert(number, shard.lost.clone());
        let run = (self.run)(shard.clone());
        let lease = KeptLease::new(lease, self.time(), since);
        let hold = Hold::new(shard, lease, Arc::clone(&self.figures), tell.clone());
        drop(self.shards[usize::from(number)].run(|context| context.call_depth(0), hold.run(run)));
        Ok(())
    }

    fn time(&self) -> Duration {
        self.inner.config.claim_after
    }
}

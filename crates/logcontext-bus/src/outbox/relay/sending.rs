//! What a relay does while it sends, and with what became of it.

use std::future::Future;

use logcontext_db::Error;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::pauses::FIRST_PAUSE;
use super::{Next, Relay};
use crate::message::printable;
use crate::outbox::send::{Became, RefusedOne, Sent};
use crate::outbox::set_aside::set_aside;

impl Relay {
    /// Drives this, and keeps the lease meanwhile: given up when that is lost, or there is no more time. Answers whether the
    /// lease is still ours.
    pub(super) async fn keep_lease(&mut self, sending: impl Future<Output = ()>, became: &Sent) -> bool {
        let mut sending = std::pin::pin!(sending);
        let mut renewal = self.lease.renewal();
        loop {
            let Some(until) = self.lease.until() else { return false };
            let end = self.stopping.by().map_or(until, |by| by.min(until));
            tokio::select! {
                biased;
                () = &mut sending => return true,
                () = self.stopping.asked() => continue,
                () = sleep_until(end) => return Instant::now() < until,
                () = sleep_until(renewal) => {}
            }
            let mut is_sent = false;
            let renewed = {
                let mut renewing = std::pin::pin!(timeout_at(until, self.lease.renew(&[])));
                loop {
                    tokio::select! {
                        biased;
                        renewed = &mut renewing => break renewed,
                        () = &mut sending, if !is_sent => is_sent = true,
                    }
                }
            };
            match (renewed, self.lease.until()) {
                (Ok(Ok(_)), None) => return false,
                (Ok(Ok(_)), Some(until)) => {
                    became.extend(until);
                    renewal = self.lease.renewal();
                }
                (Ok(Err(_)) | Err(_), _) => renewal = Instant::now() + self.config.lease / 20,
            }
            if is_sent {
                return true;
            }
        }
    }

    /// Looks at what became of those that were sent.
    pub(super) async fn look(&mut self, became: Became) -> Result<Next, Error> {
        let Became { sent, refused, mut trouble, is_closed } = became;
        self.backlog.sent(sent.len());
        for (id, lane) in sent {
            self.sent.push(id);
            self.refused.passed(lane);
        }
        for RefusedOne { id, lane, event, why } in refused {
            match self.refused.refused(lane, id, Instant::now()) {
                Some(refusals) if refusals >= self.config.max_refusals => {
                    self.set_aside(id, lane, event, &why).await?;
                }
                Some(_) => {}
                None => trouble = Some(why),
            }
        }
        if is_closed {
            return Ok(Next::End);
        }
        let Some(why) = trouble else {
            self.pause = FIRST_PAUSE;
            return Ok(Next::Again);
        };
        tracing::debug!(target: "logcontext::bus", %why, "the broker did not take what is in the outbox");
        self.backlog.tell(Some(&why));
        self.rest().await;
        Ok(Next::Again)
    }

    pub(super) async fn set_aside(
        &mut self,
        id: i64,
        lane: i64,
        event: &str,
        why: &str,
    ) -> Result<(), Error> {
        let reason = printable(why);
        if set_aside(&self.database, id, &reason).await? {
            tracing::error!(
                target: "logcontext::bus",
                event, id, reason = &*reason,
                "an event could not be sent, and was set aside",
            );
            self.backlog.set_aside();
        }
        self.refused.passed(lane);
        Ok(())
    }
}

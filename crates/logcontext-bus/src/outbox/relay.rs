//! [`Relay`]: the background process that sends what is stored.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use logcontext::Supervisor;
use logcontext_db::{Database, Error};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::OutboxConfig;
use super::backlog::Backlog;
use super::entry::Entry;
use super::figures::Figures;
use super::lease::Lease;
use super::refused::Refused;
use super::send::{Became, RefusedOne, Sent, send, sort};
use super::set_aside::set_aside;
use super::statements::{Statements, list};
use super::stop::{GRACE, Stop};
use super::stopping::Stopping;
use crate::bus::Inner;
use crate::message::printable;

/// So many bytes are read at once, and the event that goes beyond.
const BYTES: i64 = 8 * 1024 * 1024;

/// The first pause after the broker or the database was not there, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];

pub(super) struct Relay {
    bus: Arc<Inner>,
    database: Database,
    config: OutboxConfig,
    figures: Arc<Figures>,
    waker: Arc<Notify>,
    stopping: Stopping,
    lease: Lease,
    refused: Refused,
    backlog: Backlog,
    /// The broker has these, and they are still stored.
    sent: Vec<i64>,
    pause: Duration,
    /// It was said that the database is not there.
    has_failed: bool,
}

/// What comes after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Again,
    /// Another one has the lease.
    Lost,
    End,
}

impl Relay {
    pub(super) fn new(
        bus: Arc<Inner>,
        database: Database,
        config: OutboxConfig,
        figures: Arc<Figures>,
        waker: Arc<Notify>,
        stop: Arc<Stop>,
        supervisor: Supervisor,
    ) -> Self {
        let holder = format!("{}.{:08x}", bus.identity, fastrand::u32(..));
        let (closing, drain) = (bus.closing.clone(), config.drain);
        Self {
            lease: Lease::new(&database, holder, config.lease),
            backlog: Backlog::new(Arc::clone(&figures), config.warn_after),
            stopping: Stopping::new(async move { stop.asked(&supervisor, &closing, drain).await }),
            refused: Refused::default(),
            sent: Vec::new(),
            pause: PAUSES[0],
            has_failed: false,
            bus,
            database,
            config,
            figures,
            waker,
        }
    }

    /// Sends whenever it has the lease, until it is told to end.
    pub(super) async fn run(mut self) {
        while !self.stopping.check() {
            match self.lease.acquire().await {
                Ok(true) => {
                    self.recovered();
                    if self.lead().await == Next::End {
                        return;
                    }
                    tracing::warn!(target: "logcontext::bus", "another process sends from the outbox now");
                    self.wait(None).await;
                }
                Ok(false) => {
                    self.recovered();
                    self.wait(None).await;
                }
                Err(Error::Closed { .. }) => return,
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// Sends until the lease is lost, or it is to end.
    async fn lead(&mut self) -> Next {
        tracing::debug!(target: "logcontext::bus", "this process sends from the outbox");
        let next = loop {
            match self.round().await {
                Ok(Next::Again) => {}
                Ok(next) => break next,
                Err(Error::Closed { .. }) => break Next::End,
                Err(error) => {
                    if self.stopping.check() {
                        break Next::End;
                    }
                    self.failed(&error).await;
                }
            }
        };
        // Those are done, whoever has the lease: who sends them again sends them twice.
        if !self.sent.is_empty()
            && let Ok(Ok(_)) = timeout(GRACE, self.lease.renew(&self.sent)).await
        {
            self.sent.clear();
        }
        if next == Next::End {
            let _ = timeout(GRACE, self.lease.release()).await;
        }
        self.lease.lose();
        self.refused = Refused::default();
        self.backlog.forget();
        next
    }

    /// Reads what is first, and sends it.
    async fn round(&mut self) -> Result<Next, Error> {
        let is_stopping = self.stopping.check();
        if !self.sent.is_empty() || Instant::now() >= self.lease.renewal() {
            if !self.lease.renew(&self.sent).await? {
                self.sent.clear();
                return Ok(Next::Lost);
            }
            self.sent.clear();
            self.recovered();
        }
        let is_late = self.stopping.by().is_some_and(|by| by <= Instant::now());
        if is_late || self.bus.closing.is_cancelled() {
            return Ok(Next::End);
        }
        if self.backlog.is_due() {
            self.backlog.count(&self.database).await?;
        }
        if let Err(why) = self.bus.transport.status().connected {
            self.backlog.tell(Some(&why));
            if is_stopping {
                return Ok(Next::End);
            }
            self.wait_for_broker().await;
            return Ok(Next::Again);
        }
        let (page, is_all) = self.read().await?;
        self.backlog.read(&page, is_all);
        self.backlog.tell(None);
        if page.is_empty() {
            if is_stopping {
                return Ok(Next::End);
            }
            let renewal = self.lease.renewal();
            self.wait(Some(self.refused.next().map_or(renewal, |next| next.min(renewal)))).await;
            return Ok(Next::Again);
        }
        let (ready, unfit) = sort(page);
        for (id, lane, why) in unfit {
            self.set_aside(id, lane, "", &why).await?;
        }
        let Some(until) = self.lease.until() else { return Ok(Next::Lost) };
        let became = Sent::new(until);
        let bus = Arc::clone(&self.bus);
        let figures = Arc::clone(&self.figures);
        let side_by_side = usize::from(self.config.in_flight);
        let sending = send(&bus, &figures, ready, side_by_side, &became);
        let is_ours = self.keep_lease(sending, &became).await;
        let next = self.look(became.take()).await?;
        Ok(if is_ours { next } else { Next::Lost })
    }

    /// The first ones; and whether these are all that there are.
    async fn read(&mut self) -> Result<(Vec<Entry>, bool), Error> {
        let now = Instant::now();
        let pausing = list(self.refused.pausing(now));
        let is_all = pausing.is_empty();
        let sql = Statements::of(self.database.backend()).page;
        let parameters = (i64::from(self.config.batch), pausing, BYTES);
        let rows = self.database.query("outbox_page", sql, parameters).await?;
        let max_message = self.bus.config.max_message;
        let page = rows.iter().map(|row| Entry::read(row, max_message)).collect::<Result<Vec<_>, _>>()?;
        let bytes: usize =
            page.iter().filter_map(|entry| Some(entry.publish.as_ref().ok()?.message.len())).sum();
        let is_all = is_all && page.len() < usize::from(self.config.batch) && bytes < BYTES as usize;
        Ok((page, is_all))
    }

    /// Drives this, and keeps the lease meanwhile: given up when that is lost, or there is no more time. Answers whether the
    /// lease is still ours.
    async fn keep_lease(&mut self, sending: impl Future<Output = ()>, became: &Sent) -> bool {
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
    async fn look(&mut self, became: Became) -> Result<Next, Error> {
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
            self.pause = PAUSES[0];
            return Ok(Next::Again);
        };
        tracing::debug!(target: "logcontext::bus", %why, "the broker did not take what is in the outbox");
        self.backlog.tell(Some(&why));
        self.rest().await;
        Ok(Next::Again)
    }

    async fn set_aside(&mut self, id: i64, lane: i64, event: &str, why: &str) -> Result<(), Error> {
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

    /// Until there is something new, perhaps.
    async fn wait(&mut self, other: Option<Instant>) {
        let poll = Instant::now() + self.config.poll;
        let until = other.map_or(poll, |other| other.min(poll));
        tokio::select! {
            biased;
            () = self.stopping.asked() => {}
            () = self.waker.notified() => {}
            () = sleep_until(until) => {}
        }
    }

    /// Until there is a connection, perhaps.
    async fn wait_for_broker(&mut self) {
        let until = (Instant::now() + PAUSES[1]).min(self.lease.renewal());
        tokio::select! {
            biased;
            () = self.stopping.asked() => {}
            _ = self.bus.transport.connected() => {}
            () = sleep_until(until) => {}
        }
    }

    /// Something was not there.
    async fn rest(&mut self) {
        self.figures.failures.fetch_add(1, Relaxed);
        let until = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSES[1]);
        tokio::select! {
            biased;
            () = self.stopping.asked() => {}
            () = sleep_until(until) => {}
        }
    }

    /// The database was not. Said once.
    async fn failed(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(target: "logcontext::bus", %error, "the outbox cannot be read: trying again");
        }
        self.rest().await;
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.has_failed) {
            tracing::info!(target: "logcontext::bus", "the outbox can be read again");
            self.pause = PAUSES[0];
        }
    }
}

//! [`Relay`]: the background process that sends what is stored.

mod pauses;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use logcontext::Supervisor;
use logcontext_db::{Database, Error};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::OutboxConfig;
use super::backlog::Backlog;
use super::entry::Entry;
use super::figures::Figures;
use super::lease::Lease;
use super::refused::Refused;
use super::send::{Sent, send, sort};
use super::statements::{Statements, list};
use super::stop::{GRACE, Stop};
use super::stopping::Stopping;
use crate::bus::Inner;
use pauses::FIRST_PAUSE;

/// So many bytes are read at once, and the event that goes beyond.
const BYTES: i64 = 8 * 1024 * 1024;

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
            pause: FIRST_PAUSE,
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
}

//! Pulls messages from consumers, as many as there are slots for.
//!
//! A pull is a wish for so many messages, for so long. Whoever stops waits until the last of them is over: nothing is on its
//! way then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::ack::Ack;
use super::failure::Failure;
use super::js;
use super::reading::End;
use super::stopping::Stopping;
use super::wire::Wire;

/// So many are asked for at once, at most.
const BATCH: usize = 128;

/// So long a wish stands where there is but one consumer. Who stops waits so long, at most.
const STANDS: Duration = Duration::from_millis(500);

/// So long where several want the same slots.
const PASSES: Duration = Duration::from_millis(20);

/// A wish that should have been over for so long is: some brokers do not say so of one that ends in a wrong moment.
const SILENT: Duration = Duration::from_millis(200);

/// What takes one for each message. Where none are needed, there is nothing in it.
pub(super) type Slots = Option<Arc<Semaphore>>;
pub(super) type Slot = Option<OwnedSemaphorePermit>;

/// One consumer that is pulled from.
pub(super) struct Feed {
    stream: String,
    consumer: String,
    /// Slots of messages that were asked for
    pool: Vec<Slot>,
    /// When wishes should be over, in the order they were sent, and for how many they were
    wishes: VecDeque<(Instant, usize)>,
    /// Is it looked at only now and then?
    is_aside: bool,
    /// There may be something.
    may_have: bool,
    /// It was rung for since it was asked last.
    was_rung: bool,
    /// Others have it.
    pub(super) is_over: bool,
}

impl Feed {
    pub(super) fn new(stream: String, consumer: String, is_aside: bool) -> Self {
        Self {
            stream,
            consumer,
            pool: Vec::new(),
            wishes: VecDeque::new(),
            is_aside,
            may_have: true,
            was_rung: false,
            is_over: false,
        }
    }

    /// No more can come than what was asked for by wishes that are not over.
    fn forget_silent(&mut self) {
        let now = Instant::now();
        while self.wishes.front().is_some_and(|(over, _)| *over + SILENT <= now) {
            self.wishes.pop_front();
        }
        let most = self.wishes.iter().map(|(_, batch)| batch).sum();
        if self.pool.len() > most {
            self.pool.truncate(most);
            self.may_have = true;
        }
    }
}

/// What has come.
pub(super) enum Got {
    /// From this feed.
    Message { feed: usize, ack: Ack, message: Message, slot: Slot },
    /// On the bell.
    Bell(Message),
    /// A wish is over.
    Nothing,
}

pub(super) struct Pulling {
    wire: Arc<Wire>,
    /// What is pulled comes there.
    inbox: Subscriber,
    inbox_subject: String,
    bell: Option<Subscriber>,
    pub(super) feeds: Vec<Feed>,
    slots: Slots,
    stopping: Stopping,
    /// What has come though its wish was taken to be over
    late: VecDeque<(usize, Ack, Message)>,
    /// Is there but one that is not aside?
    is_alone: bool,
    look: Instant,
    look_every: Duration,
    /// Whose turn it is, where not all can be asked at once
    turn: usize,
}

impl Pulling {
    /// `inbox` is a subject that nobody else has.
    pub(super) async fn begin(
        wire: Arc<Wire>,
        inbox: String,
        bell: Option<Subscriber>,
        feeds: Vec<Feed>,
        slots: Slots,
        stopping: Stopping,
        look_every: Duration,
    ) -> Result<Self, Failure> {
        let heard = wire.hear(format!("{inbox}.*.*")).await?;
        let is_alone = feeds.iter().filter(|feed| !feed.is_aside).count() == 1;
        let look = Instant::now() + look_every;
        Ok(Self {
            wire,
            inbox: heard,
            inbox_subject: inbox,
            bell,
            feeds,
            slots,
            stopping,
            late: VecDeque::new(),
            is_alone,
            look,
            look_every,
            turn: 0,
        })
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Result<Got, End> {
        loop {
            let is_stopping = self.stopping.is_asked();
            self.feeds.iter_mut().for_each(Feed::forget_silent);
            if is_stopping {
                if let Some((feed, ack, message)) = self.late.pop_front() {
                    return Ok(Got::Message { feed, ack, message, slot: None });
                }
                if self.feeds.iter().all(|feed| feed.pool.is_empty()) {
                    return Err(End::Stopped);
                }
            }
            let wants =
                !is_stopping && (!self.late.is_empty() || self.feeds.iter().any(|feed| self.wants(feed)));
            let silent = self
                .feeds
                .iter()
                .filter_map(|feed| feed.wishes.front())
                .map(|(over, _)| *over + SILENT)
                .min();
            let Self { inbox, bell, slots, stopping, .. } = self;
            let acquire = async {
                match slots {
                    Some(slots) => Arc::clone(slots).acquire_owned().await.map(Some),
                    None => Ok(None),
                }
            };
            tokio::select! {
                biased;
                () = stopping.asked(), if !is_stopping => {}
                message = inbox.next() => match message {
                    Some(message) => if let Some(got) = self.came(message).await? {
                        return Ok(got);
                    },
                    None => return Err(Failure::gone().into()),
                },
                Some(message) = next_of(bell) => return Ok(Got::Bell(message)),
                slot = acquire, if wants => {
                    let slot = slot.map_err(|_| End::Stopped)?;
                    if let Some((feed, ack, message)) = self.late.pop_front() {
                        return Ok(Got::Message { feed, ack, message, slot });
                    }
                    self.pull(slot).await?;
                }
                () = until(silent) => {}
                () = tokio::time::sleep_until(self.look), if !is_stopping => {
                    self.look = Instant::now() + self.look_every;
                    for feed in &mut self.feeds {
                        feed.may_have = true;
                    }
                }
            }
        }
    }

    /// There is something new at this feed.
    pub(super) fn ring(&mut self, feed: usize) {
        if let Some(feed) = self.feeds.get_mut(feed) {
            (feed.may_have, feed.was_rung) = (true, true);
        }
    }

    fn wants(&self, feed: &Feed) -> bool {
        if feed.is_over {
            false
        } else if self.is_alone && !feed.is_aside {
            // Whatever slot comes free is for it.
            self.slots.is_some() || feed.pool.is_empty()
        } else {
            feed.may_have && feed.pool.is_empty()
        }
    }

    /// Asks, with this slot and as many more as are free.
    async fn pull(&mut self, first: Slot) -> Result<(), Failure> {
        let mut slots = vec![first];
        while slots.len() < BATCH {
            match &self.slots {
                Some(all) => match Arc::clone(all).try_acquire_owned() {
                    Ok(slot) => slots.push(Some(slot)),
                    Err(_) => break,
                },
                None => slots.push(None),
            }
        }
        let all = self.feeds.len();
        let mut wanting: Vec<usize> =
            (0..all).map(|at| (at + self.turn) % all).filter(|at| self.wants(&self.feeds[*at])).collect();
        // Those aside are rarely asked, and for one only: they come first.
        wanting.sort_by_key(|at| !self.feeds[*at].is_aside);
        self.turn = self.turn.wrapping_add(1) % all.max(1);
        let mut left = wanting.len();
        for at in wanting {
            if slots.is_empty() {
                break;
            }
            let share = if self.feeds[at].is_aside { 1 } else { slots.len().div_ceil(left) };
            left -= 1;
            let share = slots.split_off(slots.len() - share.min(slots.len()));
            self.ask(at, share).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, at: usize, slots: Vec<Slot>) -> Result<(), Failure> {
        let feed = &mut self.feeds[at];
        let (batch, stands) = (slots.len(), self.is_alone && !feed.is_aside);
        let wish = if stands {
            format!(r#"{{"batch":{batch},"expires":{}}}"#, STANDS.as_nanos())
        } else {
            format!(r#"{{"batch":{batch},"expires":{},"no_wait":true}}"#, PASSES.as_nanos())
        };
        let over = Instant::now() + if stands { STANDS } else { PASSES };
        feed.was_rung = false;
        feed.wishes.push_back((over, batch));
        feed.pool.extend(slots);
        // It is known again by this how many were asked for.
        let reply = format!("{}.{at}.{batch}", self.inbox_subject);
        self.wire.tell_and_hear(js::pull_subject(&feed.stream, &feed.consumer), reply, wish).await
    }

    async fn came(&mut self, message: Message) -> Result<Option<Got>, End> {
        if let Some(status) = message.status {
            return self.is_over(status, &message).map(|()| Some(Got::Nothing));
        }
        let Some(ack) = message.reply.as_deref().and_then(Ack::parse) else { return Ok(None) };
        let is_its = |feed: &Feed| feed.stream == ack.stream && feed.consumer == ack.consumer;
        let Some(feed) = self.feeds.iter().position(is_its) else { return Ok(None) };
        let slot = match (self.feeds[feed].pool.pop(), &self.slots) {
            (Some(slot), _) => slot,
            (None, None) => None,
            (None, Some(_)) => {
                self.late.push_back((feed, ack, message));
                return Ok(None);
            }
        };
        Ok(Some(Got::Message { feed, ack, message, slot }))
    }

    /// A wish is over, or was refused.
    fn is_over(&mut self, status: StatusCode, message: &Message) -> Result<(), End> {
        let tokens = message.subject.strip_prefix(&*self.inbox_subject).unwrap_or_default();
        let mut tokens = tokens.split('.').skip(1).map(str::parse::<usize>);
        let (Some(Ok(at)), Some(Ok(batch))) = (tokens.next(), tokens.next()) else { return Ok(()) };
        let Some(feed) = self.feeds.get_mut(at) else { return Ok(()) };
        let header = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        let left = header.and_then(|left| left.as_str().parse().ok()).unwrap_or(batch);
        match status.as_u16() {
            404 | 408 => feed.may_have = feed.was_rung,
            // Too many ask already.
            409 if message.description.as_deref().is_some_and(|why| why.contains("Waiting")) => {
                feed.may_have = false;
            }
            100 => return Ok(()),
            status => {
                let why = message.description.as_deref().unwrap_or("no answer");
                return Err(Failure::Refused(format!("{status} {why}")).into());
            }
        }
        feed.pool.truncate(feed.pool.len().saturating_sub(left));
        Ok(())
    }

    pub(super) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Hears the bell no more.
    pub(super) async fn silence(&mut self) {
        if let Some(mut bell) = self.bell.take() {
            let _ = bell.unsubscribe().await;
        }
    }
}

async fn next_of(bell: &mut Option<Subscriber>) -> Option<Message> {
    match bell {
        Some(bell) => bell.next().await,
        None => std::future::pending().await,
    }
}

async fn until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

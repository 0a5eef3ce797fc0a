//! Shows what is stored, and looks after it.

use std::collections::BTreeSet;
use std::time::SystemTime;

use futures_util::future::join_all;

use super::failure::Failure;
use super::gate::Kind;
use super::js::{self, ConsumerInfo, ConsumerList, Done, Get, Purged, StreamInfo, StreamNames};
use super::kept::header;
use super::names::{parse_consumer, untoken};
use super::shared::Shared;
use super::{NatsTransport, clock, letters, names, trim};
use crate::config::Retention;
use crate::transport::{
    DeadLetter, DeliveryId, Doing, EventId, EventLog, Lag, Message, Page, Since, Stored, Trimmed,
};

/// So many messages are asked for at once.
const STEP: usize = 64;

/// What is answered, or nothing where it is not there.
fn there<T>(answer: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(failure) if failure.is_absence() => Ok(None),
        Err(failure) => Err(failure),
    }
}

impl Shared {
    pub(super) async fn info(&self, stream: &str, subjects: &str) -> Result<Option<StreamInfo>, Failure> {
        let answer = self.ask(&js::stream_info(stream, Some(subjects))).await;
        there(answer.and_then(|answer| js::read(&answer)))
    }

    /// All consumers of a stream.
    pub(super) async fn consumers(&self, stream: &str) -> Result<Vec<ConsumerInfo>, Failure> {
        let mut all = Vec::new();
        loop {
            let answer = self.ask(&js::consumers(stream, all.len() as u64)).await;
            let page: Option<ConsumerList> = there(answer.and_then(|answer| js::read(&answer)))?;
            let Some(ConsumerList { total, consumers: Some(page) }) = page else { return Ok(all) };
            let is_last = page.is_empty() || (all.len() + page.len()) as u64 >= total;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Those of groups, by their groups and partitions.
    pub(super) async fn groups(&self, stream: &str) -> Result<Vec<(String, u16, ConsumerInfo)>, Failure> {
        let consumers = self.consumers(stream).await?.into_iter();
        Ok(consumers
            .filter_map(|info| parse_consumer(&info.name).map(|(group, partition)| (group, partition, info)))
            .collect())
    }

    /// A message of a stream that is there, with its number and when it came.
    async fn get(&self, stream: &str, what: Get<'_>) -> Result<Option<Found>, Failure> {
        let found = match self.ask(&js::get(stream, &what)).await {
            Ok(found) if found.status.is_none() => found,
            Ok(_) | Err(Failure::Nobody) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let sequence = header(&found, "Nats-Sequence").and_then(|text| text.parse().ok());
        let at = header(&found, "Nats-Time-Stamp").and_then(clock::parse);
        let subject = header(&found, "Nats-Subject").map(str::to_owned);
        Ok(sequence.zip(at).zip(subject).map(|((sequence, at), subject)| Found {
            sequence,
            at,
            subject,
            payload: found.payload,
        }))
    }

    async fn history(&self, event: &str, page: Page) -> Result<Vec<Stored>, Failure> {
        let (stream, all) = (self.names.events(event), self.names.partitions(event));
        let Some(StreamInfo { state }) = self.info(&stream, &all).await? else { return Ok(Vec::new()) };
        let deleted: BTreeSet<u64> = state.deleted.unwrap_or_default().into_iter().collect();
        let last = page.before.map_or(state.last_seq, |id| state.last_seq.min(id.0.saturating_sub(1)));
        let mut sequences = (state.first_seq.max(1)..=last).rev().filter(|at| !deleted.contains(at));
        let mut found = Vec::new();
        while found.len() < page.limit {
            let step: Vec<u64> = sequences.by_ref().take(STEP.min(page.limit - found.len())).collect();
            if step.is_empty() {
                break;
            }
            for one in join_all(step.into_iter().map(|at| self.get(&stream, Get::At(at)))).await {
                let Some(one) = one? else { continue };
                let partition =
                    one.subject.rsplit_once('.').and_then(|(_, partition)| partition.parse().ok());
                found.extend(partition.map(|partition| Stored {
                    partition,
                    id: EventId(one.sequence, 0),
                    at: one.at,
                    message: Message::from_frame(one.payload),
                }));
            }
        }
        Ok(found)
    }

    async fn dead_letters(
        &self,
        event: &str,
        limit: usize,
    ) -> Result<Vec<(EventId, SystemTime, DeadLetter)>, Failure> {
        let (stream, subject) = (self.names.dead(event), self.names.dead_letters(event));
        if self.info(&stream, &subject).await?.is_none() {
            return Ok(Vec::new());
        }
        let (mut letters, mut next) = (Vec::new(), 1);
        while letters.len() < limit {
            let Some(found) = self.get(&stream, Get::From(next, &subject)).await? else { break };
            next = found.sequence + 1;
            letters.extend(
                letters::parse(found.payload).map(|letter| (EventId(found.sequence, 0), found.at, letter)),
            );
        }
        Ok(letters)
    }

    async fn retry(&self, event: &str, id: EventId) -> Result<bool, Failure> {
        let stream = self.names.dead(event);
        if self.info(&stream, &self.names.dead_letters(event)).await?.is_none() {
            return Ok(false);
        }
        let Some(found) = self.get(&stream, Get::At(id.0)).await? else { return Ok(false) };
        let Some(letter) = letters::parse(found.payload) else { return Ok(false) };
        // Who listens next finds it.
        let wait = crate::config::BusConfig::new("", "").claim_after;
        self.make_group_if_absent(event, &letter.group, wait).await?;
        let once = format!("{}-{}", id.0, clock::micros(clock::since_1970(found.at)));
        let (subject, frame) = (self.names.retried_of(event, &letter.group), letter.message.to_frame());
        self.store(&self.retried_stream(event), &js::store_with(subject, frame, js::ONCE, &once)).await?;
        self.drop_letter(event, id).await
    }

    async fn make_group_if_absent(
        &self,
        event: &str,
        group: &str,
        wait: std::time::Duration,
    ) -> Result<(), Failure> {
        let (stream, _) = self.feed(event, group, DeliveryId::RETRIED);
        let name = names::consumer(group, DeliveryId::RETRIED);
        let found = self.ask(&js::consumer_info(&stream, &name)).await;
        match there(found.and_then(|answer| js::read::<Done>(&answer)))? {
            Some(Done {}) => Ok(()),
            None => self.make_group(event, group, DeliveryId::RETRIED, Since::Start, wait).await,
        }
    }

    async fn drop_letter(&self, event: &str, id: EventId) -> Result<bool, Failure> {
        let answer = self.ask(&js::delete_message(&self.names.dead(event), id.0)).await;
        match answer.and_then(|answer| js::read::<Done>(&answer)) {
            Ok(Done {}) => Ok(true),
            // By whatever number: there is none.
            Err(Failure::Error { .. } | Failure::Nobody) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn forget_group(&self, event: &str, group: &str) -> Result<bool, Failure> {
        let mut was_there = false;
        let retried = self.names.retried(event);
        for stream in [self.names.events(event), retried.clone()] {
            for (_, _, info) in self.groups(&stream).await?.into_iter().filter(|(of, _, _)| of == group) {
                let answer = self.ask(&js::delete_consumer(&stream, &info.name)).await;
                let gone = there(answer.and_then(|answer| js::read::<Done>(&answer)))?.is_some();
                was_there |= gone && stream != retried;
            }
        }
        let subject = self.names.retried_of(event, group);
        let answer = self.ask(&js::purge(&retried, Some(&subject), None)).await;
        there(answer.and_then(|answer| js::read::<Purged>(&answer)))?;
        Ok(was_there)
    }
}

/// A message of a stream.
struct Found {
    sequence: u64,
    at: SystemTime,
    subject: String,
    payload: bytes::Bytes,
}

impl EventLog for NatsTransport {
    fn events(&self) -> Doing<'_, Vec<String>> {
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            let names = &self.shared.names;
            let (mut events, mut seen) = (BTreeSet::new(), 0);
            loop {
                let answer = self.shared.ask(&js::stream_names(&names.all_events(), seen)).await?;
                let StreamNames { total, streams } = js::read(&answer)?;
                let page = streams.unwrap_or_default();
                seen += page.len() as u64;
                events.extend(page.iter().filter_map(|stream| untoken(names.event_of(stream)?)));
                if page.is_empty() || seen >= total {
                    return Ok(events.into_iter().collect());
                }
            }
        })
    }

    fn groups(&self, event: &str) -> Doing<'_, Vec<String>> {
        let stream = self.shared.names.events(event);
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            let groups = self.shared.groups(&stream).await?.into_iter().map(|(group, _, _)| group);
            Ok(groups.collect::<BTreeSet<_>>().into_iter().collect())
        })
    }

    fn lag(&self, event: &str, group: &str) -> Doing<'_, Lag> {
        let streams = [self.shared.names.events(event), self.shared.names.retried(event)];
        let group = group.to_owned();
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            let mut sum = Lag::default();
            for stream in streams {
                let groups = self.shared.groups(&stream).await?;
                for (_, _, info) in groups.into_iter().filter(|(of, _, _)| *of == group) {
                    let (unread, pending) =
                        (sum.unread + info.num_pending, sum.pending + info.num_ack_pending);
                    sum = Lag { unread, pending };
                }
            }
            Ok(sum)
        })
    }

    fn history(&self, event: &str, page: Page) -> Doing<'_, Vec<Stored>> {
        let event = event.to_owned();
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(self.shared.history(&event, page).await?)
        })
    }

    fn forget_group(&self, event: &str, group: &str) -> Doing<'_, bool> {
        let (event, group) = (event.to_owned(), group.to_owned());
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(self.shared.forget_group(&event, &group).await?)
        })
    }

    fn trim(&self, event: &str, retention: Retention) -> Doing<'_, Trimmed> {
        let event = event.to_owned();
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(trim::trim(&self.shared, &event, retention).await?)
        })
    }

    fn dead_letters(&self, event: &str, limit: usize) -> Doing<'_, Vec<(EventId, SystemTime, DeadLetter)>> {
        let event = event.to_owned();
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(self.shared.dead_letters(&event, limit).await?)
        })
    }

    fn dead_letter_count(&self, event: &str) -> Doing<'_, u64> {
        let (stream, subject) = (self.shared.names.dead(event), self.shared.names.dead_letters(event));
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(self.shared.info(&stream, &subject).await?.map_or(0, |info| info.state.messages))
        })
    }

    fn retry_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool> {
        let event = event.to_owned();
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(self.shared.retry(&event, id).await?)
        })
    }

    fn drop_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool> {
        let event = event.to_owned();
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(self.shared.drop_letter(&event, id).await?)
        })
    }
}

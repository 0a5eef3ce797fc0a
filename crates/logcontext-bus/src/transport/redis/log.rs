//! Shows what is stored, and looks after it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use redis::{Value, cmd};

use super::keys::Keys;
use super::{RedisTransport, scripts, value};
use crate::config::Retention;
use crate::transport::{
    DeadLetter, DeliveryId, Doing, EventId, EventLog, Lag, Message, Page, Stored, TransportError, Trimmed,
};

/// A consumer that has nothing and has not asked for so long is gone: an hour.
const GONE: u64 = 3_600_000;

/// So many entries are looked at in one step.
const STEP: usize = 1_000;

impl RedisTransport {
    async fn partitions(&self) -> Result<BTreeSet<(String, u16)>, TransportError> {
        let mut members = cmd("SMEMBERS");
        members.arg(self.shared.keys.registry());
        let members = value::list(self.shared.queues.look(members).await?).unwrap_or_default();
        let entries = members.iter().filter_map(|member| Keys::parse_entry(value::text(member)?));
        Ok(entries.map(|(event, partition)| (event.to_owned(), partition)).collect())
    }

    /// The streams of an event.
    async fn streams(&self, event: &str) -> Result<Vec<(u16, String)>, TransportError> {
        let partitions = self.partitions().await?;
        let own = partitions.into_iter().filter(|(of, _)| of == event);
        Ok(own.map(|(event, partition)| (partition, self.shared.keys.events(&event, partition))).collect())
    }

    /// What is known of the groups of a stream. None where there is no stream.
    async fn groups_of(&self, key: &str) -> Result<Vec<Vec<Value>>, TransportError> {
        let mut groups = cmd("XINFO");
        groups.arg("GROUPS").arg(key);
        match self.shared.queues.look(groups).await {
            Ok(groups) => {
                Ok(value::list(groups).unwrap_or_default().into_iter().filter_map(value::list).collect())
            }
            Err(TransportError::Refused(why)) if why.contains("no such key") => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn lag_of(&self, key: &str, group: &str) -> Result<Lag, TransportError> {
        for mut info in self.groups_of(key).await? {
            if value::field(&mut info, "name").as_ref().and_then(value::text) != Some(group) {
                continue;
            }
            let pending =
                value::field(&mut info, "pending").as_ref().and_then(value::count).unwrap_or_default();
            let unread = match value::field(&mut info, "lag").as_ref().and_then(value::count) {
                Some(unread) => unread,
                // The broker cannot tell: something was deleted in between, or it is an old one.
                None => {
                    let last = value::field(&mut info, "last-delivered-id");
                    self.count_after(key, last.as_ref().and_then(value::id).unwrap_or_default()).await?
                }
            };
            return Ok(Lag { unread, pending });
        }
        Ok(Lag::default())
    }

    async fn count_after(&self, key: &str, mut last: EventId) -> Result<u64, TransportError> {
        let mut count = 0;
        loop {
            let mut range = cmd("XRANGE");
            range.arg(key).arg(format!("({last}")).arg("+").arg("COUNT").arg(STEP);
            let page = value::list(self.shared.queues.look(range).await?).unwrap_or_default();
            count += page.len() as u64;
            let end =
                page.into_iter().next_back().and_then(value::array::<2>).and_then(|[id, _]| value::id(&id));
            match end {
                Some(end) => last = end,
                None => return Ok(count),
            }
        }
    }
}

impl EventLog for RedisTransport {
    fn events(&self) -> Doing<'_, Vec<String>> {
        Box::pin(async move {
            let events: BTreeSet<_> = self.partitions().await?.into_iter().map(|(event, _)| event).collect();
            Ok(events.into_iter().collect())
        })
    }

    fn groups(&self, event: &str) -> Doing<'_, Vec<String>> {
        let event = event.to_owned();
        Box::pin(async move {
            let mut names = BTreeSet::new();
            for (_, key) in self.streams(&event).await? {
                let groups = self.groups_of(&key).await?.into_iter();
                names.extend(
                    groups.filter_map(|mut info| {
                        Some(value::text(&value::field(&mut info, "name")?)?.to_owned())
                    }),
                );
            }
            Ok(names.into_iter().collect())
        })
    }

    fn lag(&self, event: &str, group: &str) -> Doing<'_, Lag> {
        let (event, group) = (event.to_owned(), group.to_owned());
        Box::pin(async move {
            let retried = self.shared.keys.stream(&event, &group, DeliveryId::RETRIED);
            let streams = self.streams(&event).await?.into_iter().map(|(_, key)| key);
            let mut sum = Lag::default();
            for key in streams.chain([retried]) {
                let Lag { unread, pending } = self.lag_of(&key, &group).await?;
                sum = Lag { unread: sum.unread + unread, pending: sum.pending + pending };
            }
            Ok(sum)
        })
    }

    fn history(&self, event: &str, page: Page) -> Doing<'_, Vec<Stored>> {
        let event = event.to_owned();
        Box::pin(async move {
            let mut found = Vec::new();
            for (partition, key) in self.streams(&event).await? {
                let mut range = cmd("XREVRANGE");
                range.arg(key).arg(page.before.map_or_else(|| "+".to_owned(), |id| format!("({id}")));
                range.arg("-").arg("COUNT").arg(page.limit);
                let entries = value::list(self.shared.queues.look(range).await?).unwrap_or_default();
                found.extend(entries.into_iter().filter_map(|entry| {
                    let [id, fields] = value::array(entry)?;
                    let frame = value::list(fields)?.into_iter().nth(1)?;
                    let (id, message) = (value::id(&id)?, Message::from_frame(value::bytes(frame)?));
                    Some(Stored { partition, id, at: value::at(id), message })
                }));
            }
            found.sort_by_key(|stored| std::cmp::Reverse((stored.id, stored.partition)));
            // The next page begins before the id of the last: those of other partitions that have the same stay with it.
            let last = page.limit.checked_sub(1).and_then(|last| found.get(last)).map(|stored| stored.id);
            let same = found.iter().skip(page.limit).take_while(|stored| Some(stored.id) == last).count();
            found.truncate(page.limit + same);
            Ok(found)
        })
    }

    fn forget_group(&self, event: &str, group: &str) -> Doing<'_, bool> {
        let (event, group) = (event.to_owned(), group.to_owned());
        Box::pin(async move {
            let mut was_there = false;
            for (_, key) in self.streams(&event).await? {
                let mut destroy = cmd("XGROUP");
                destroy.arg("DESTROY").arg(key).arg(&group);
                match self.shared.queues.look(destroy).await {
                    Ok(answer) => was_there |= answer == Value::Int(1),
                    // Trimmed away, key and all.
                    Err(TransportError::Refused(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            let mut delete = cmd("DEL");
            delete.arg(self.shared.keys.stream(&event, &group, DeliveryId::RETRIED));
            self.shared.queues.look(delete).await?;
            Ok(was_there)
        })
    }

    fn trim(&self, event: &str, retention: Retention) -> Doing<'_, Trimmed> {
        let event = event.to_owned();
        Box::pin(async move {
            let (mut all, mut behind) = (Trimmed::default(), BTreeSet::new());
            for (_, key) in self.streams(&event).await? {
                let mut trim = scripts::call(&scripts::TRIM, &[key]);
                trim.arg(retention.history).arg(retention.cap).arg(GONE);
                let mut answer =
                    value::list(self.shared.queues.look(trim).await?).unwrap_or_default().into_iter();
                let mut number = || answer.next().as_ref().and_then(value::count).unwrap_or_default();
                all.kept = all.kept.max(number());
                all.lost += number();
                behind.extend(answer.filter_map(|group| value::text(&group).map(str::to_owned)));
            }
            all.behind = behind.into_iter().collect();
            Ok(all)
        })
    }

    fn dead_letters(&self, event: &str, limit: usize) -> Doing<'_, Vec<(EventId, SystemTime, DeadLetter)>> {
        let mut range = cmd("XRANGE");
        range.arg(self.shared.keys.dead_letters(event)).arg("-").arg("+").arg("COUNT").arg(limit);
        Box::pin(async move {
            let entries = value::list(self.shared.queues.look(range).await?).unwrap_or_default();
            Ok(entries.into_iter().filter_map(dead_letter).collect())
        })
    }

    fn dead_letter_count(&self, event: &str) -> Doing<'_, u64> {
        let mut length = cmd("XLEN");
        length.arg(self.shared.keys.dead_letters(event));
        Box::pin(async move { Ok(value::count(&self.shared.queues.look(length).await?).unwrap_or_default()) })
    }

    fn retry_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool> {
        let keys = &self.shared.keys;
        let mut retry = scripts::call(&scripts::RETRY, &[keys.dead_letters(event)]);
        retry.arg(id.to_string()).arg(keys.retried(event));
        Box::pin(async move { Ok(self.shared.queues.look(retry).await? == Value::Int(1)) })
    }

    fn drop_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool> {
        let mut delete = cmd("XDEL");
        delete.arg(self.shared.keys.dead_letters(event)).arg(id.to_string());
        Box::pin(async move { Ok(self.shared.queues.look(delete).await? == Value::Int(1)) })
    }
}

fn dead_letter(entry: Value) -> Option<(EventId, SystemTime, DeadLetter)> {
    let [id, fields] = value::array(entry)?;
    let (id, mut fields) = (value::id(&id)?, value::list(fields)?);
    let letter = DeadLetter {
        group: Arc::from(value::text(&value::field(&mut fields, "group")?)?),
        reason: value::text(&value::field(&mut fields, "reason")?)?.to_owned(),
        deliveries: value::count(&value::field(&mut fields, "deliveries")?)?.try_into().ok()?,
        message: Message::from_frame(value::bytes(value::field(&mut fields, "event")?)?),
    };
    Some((id, value::at(id), letter))
}

//! Events in the order they came in, and how far a group is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::transport::{EventId, Message};

/// Events of one partition. Each has an index, which stays when older ones are forgotten.
#[derive(Default)]
pub(super) struct Log {
    first: u64,
    entries: VecDeque<Entry>,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: EventId,
    pub(super) at: SystemTime,
    pub(super) message: Message,
}

impl Log {
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
    }

    /// The index of the oldest.
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The index of the one to come.
    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// The newest first, of those older than this.
    pub(super) fn older_than(&self, before: Option<EventId>) -> impl Iterator<Item = &Entry> {
        let end = before.map_or(self.entries.len(), |id| self.entries.partition_point(|entry| entry.id < id));
        self.entries.range(..end).rev()
    }

    /// Forgets all before this index.
    pub(super) fn forget_before(&mut self, index: u64) {
        let gone = index.saturating_sub(self.first).min(self.entries.len() as u64);
        self.entries.drain(..usize::try_from(gone).unwrap_or(usize::MAX));
        self.first += gone;
    }
}

/// How far a group is in a partition.
#[derive(Default)]
pub(super) struct Cursor {
    /// The index of the first that nobody has been given.
    pub(super) next: u64,
    /// What was given out and is not done.
    pub(super) pending: BTreeMap<EventId, Pending>,
    /// Of that, what nobody has in hand.
    pub(super) returned: BTreeSet<EventId>,
    /// The one consumer that reads it, if it is leased.
    pub(super) leased_to: Option<u64>,
}

pub(super) struct Pending {
    pub(super) index: u64,
    /// Who has it; or, of what was returned, who should not have it again if there is anyone else.
    pub(super) consumer: u64,
    pub(super) deliveries: u32,
    /// When it was given out or renewed.
    pub(super) since: Instant,
}

/// What a cursor gives out.
pub(super) struct Given {
    pub(super) entry: Entry,
    pub(super) deliveries: u32,
}

impl Cursor {
    pub(super) fn at(next: u64) -> Self {
        Self { next, ..Self::default() }
    }

    /// Is there nothing to give out?
    pub(super) fn is_drained(&self, log: &Log) -> bool {
        self.returned.is_empty() && self.next >= log.end()
    }

    /// Gives the next one to this consumer. What came back comes first.
    pub(super) fn give(&mut self, log: &Log, to: u64, is_alone: bool, now: Instant) -> Option<Given> {
        self.give_returned(log, to, is_alone, now).or_else(|| {
            self.next = self.next.max(log.first());
            let entry = log.get(self.next)?.clone();
            let pending = Pending { index: self.next, consumer: to, deliveries: 1, since: now };
            self.pending.insert(entry.id, pending);
            self.next += 1;
            Some(Given { entry, deliveries: 1 })
        })
    }

    fn give_returned(&mut self, log: &Log, to: u64, is_alone: bool, now: Instant) -> Option<Given> {
        loop {
            let may_have =
                |id: &&EventId| is_alone || self.pending.get(*id).is_none_or(|had| had.consumer != to);
            let id = *self.returned.iter().find(may_have)?;
            self.returned.remove(&id);
            let Some(pending) = self.pending.get_mut(&id) else { continue };
            let Some(entry) = log.get(pending.index) else {
                // The cap has cut it.
                self.pending.remove(&id);
                continue;
            };
            pending.consumer = to;
            pending.deliveries = pending.deliveries.saturating_add(1);
            pending.since = now;
            return Some(Given { entry: entry.clone(), deliveries: pending.deliveries });
        }
    }

    /// It is done, whoever has it.
    pub(super) fn done(&mut self, id: EventId) -> bool {
        self.returned.remove(&id);
        self.pending.remove(&id).is_some()
    }

    /// Has this consumer got it in hand?
    pub(super) fn is_held(&self, id: EventId, by: u64) -> bool {
        !self.returned.contains(&id) && self.pending.get(&id).is_some_and(|pending| pending.consumer == by)
    }

    /// Takes back what is in hand and like this. Answers whether there was any.
    pub(super) fn take_back(&mut self, which: impl Fn(&Pending) -> bool) -> bool {
        let before = self.returned.len();
        let back = self.pending.iter().filter(|(_, pending)| which(pending)).map(|(id, _)| *id);
        self.returned.extend(back);
        self.returned.len() > before
    }

    /// The index of the oldest that is not done.
    pub(super) fn oldest(&self) -> u64 {
        self.pending.first_key_value().map_or(self.next, |(_, pending)| pending.index.min(self.next))
    }

    /// Is what has this index done?
    pub(super) fn has_done(&self, index: u64, id: EventId) -> bool {
        index < self.next && !self.pending.contains_key(&id)
    }

    /// Forgets what is no longer kept and nobody has in hand.
    pub(super) fn forget_before(&mut self, index: u64) {
        self.next = self.next.max(index);
        let gone: Vec<EventId> = self
            .returned
            .iter()
            .copied()
            .filter(|id| self.pending.get(id).is_none_or(|pending| pending.index < index))
            .collect();
        for id in gone {
            self.done(id);
        }
    }
}

//! The stream of one event: its partitions, its groups, and their dead letters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use super::consumer::Consumer;
use super::lock;
use super::partition::{Cursor, Entry, Given, Log};
use super::pump::{Kicked, kick};
use crate::transport::{DeadLetter, DeliveryId, EventId, Message, Since};

pub(super) struct Stream {
    state: Mutex<State>,
    /// Who is offered the next message first.
    rotate: AtomicUsize,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) partitions: BTreeMap<u16, Log>,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) letters: BTreeMap<EventId, (SystemTime, DeadLetter)>,
    /// The members of all groups, to be kicked when the lock is free again.
    pub(super) members: Arc<[Arc<Members>]>,
    last: EventId,
}

#[derive(Default)]
pub(super) struct Group {
    pub(super) cursors: BTreeMap<u16, Cursor>,
    /// Dead letters that are tried again.
    pub(super) retried: Log,
    pub(super) retrying: Cursor,
    pub(super) members: Arc<Members>,
}

/// The consumers of a group.
#[derive(Default)]
pub(super) struct Members {
    pub(super) consumers: Box<[Arc<Consumer>]>,
    /// Not each of them may have what it could.
    pub(super) is_leased: bool,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), rotate: AtomicUsize::new(0) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Stores an event, and hands it on.
    pub(super) fn publish(&self, partition: u16, message: Message) -> EventId {
        let (id, members) = {
            let mut state = self.lock();
            let (id, at) = state.mint();
            state.partitions.entry(partition).or_default().push(Entry { id, at, message });
            (id, Arc::clone(&state.members))
        };
        let from = self.rotate.fetch_add(1, Relaxed);
        for members in &*members {
            members.offer(partition, from);
        }
        id
    }

    /// Makes all look that there are: for what comes back, which not each may have.
    pub(super) fn kick_group(&self, group: &str) {
        let members = self.lock().groups.get(group).map(|group| Arc::clone(&group.members));
        for consumer in members.iter().flat_map(|members| &*members.consumers) {
            kick(consumer);
        }
    }

    /// This consumer gets nothing more; what it has is still its own.
    pub(super) fn read_no_more(&self, consumer: &Consumer) {
        self.part(consumer, |_| {});
    }

    /// The same; and others get what it has.
    pub(super) fn leave(&self, consumer: &Consumer) {
        self.part(consumer, |cursor| {
            cursor.take_back(|pending| pending.consumer == consumer.id);
        });
    }

    fn part(&self, consumer: &Consumer, each: impl Fn(&mut Cursor)) {
        {
            let mut state = self.lock();
            consumer.is_out.store(true, Relaxed);
            let Some(group) = state.groups.get_mut(&*consumer.group) else { return };
            for cursor in group.cursors.values_mut().chain([&mut group.retrying]) {
                cursor.leased_to.take_if(|holder| *holder == consumer.id);
                each(cursor);
            }
            group.set_members(|consumers| consumers.retain(|other| other.id != consumer.id));
            state.gather_members();
        }
        self.kick_group(&consumer.group);
    }
}

impl Members {
    /// Tells them that there is something in this partition, until one has seen to it.
    fn offer(&self, partition: u16, from: usize) {
        let (before, after) = self.consumers.split_at(from.checked_rem(self.consumers.len()).unwrap_or(0));
        for consumer in after.iter().chain(before).filter(|consumer| consumer.reads(partition)) {
            if kick(consumer) == Kicked::Drained && !self.is_leased {
                return;
            }
        }
    }
}

impl State {
    /// The id of something new, and when that was.
    pub(super) fn mint(&mut self) -> (EventId, SystemTime) {
        let at = SystemTime::now();
        let millis = at.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        self.last = EventId(millis.max(self.last.0), self.last.1 + 1);
        (self.last, at)
    }

    /// The group, which begins here if it is new.
    pub(super) fn group(&mut self, name: &Arc<str>, since: Since) -> &mut Group {
        let partitions = &self.partitions;
        self.groups.entry(Arc::clone(name)).or_insert_with(|| {
            let begin = |log: &Log| match since {
                Since::Now => log.end(),
                Since::Start => log.first(),
            };
            let cursors = partitions.iter().map(|(partition, log)| (*partition, Cursor::at(begin(log))));
            Group { cursors: cursors.collect(), ..Group::default() }
        })
    }

    /// After the members of a group have changed.
    pub(super) fn gather_members(&mut self) {
        let members = self.groups.values().map(|group| Arc::clone(&group.members));
        self.members = members.filter(|members| !members.consumers.is_empty()).collect();
    }

    /// Gives the next event to this consumer, and says whether there may be another.
    pub(super) fn give(&mut self, to: &Consumer) -> Option<(DeliveryId, Given, bool)> {
        if to.is_out.load(Relaxed) {
            return None;
        }
        let now = to.now();
        let group = self.groups.get_mut(&*to.group)?;
        let is_alone = group.members.consumers.len() <= 1;
        if to.with_retried
            && let Some(given) = group.retrying.give(&group.retried, to.id, is_alone, now)
        {
            return Some((DeliveryId { partition: DeliveryId::RETRIED, id: given.entry.id }, given, true));
        }
        for partition in to.next_partitions() {
            let Some(log) = self.partitions.get(&partition) else { continue };
            let cursor = group.cursors.entry(partition).or_default();
            if cursor.leased_to.is_some_and(|holder| holder != to.id) {
                continue;
            }
            if let Some(given) = cursor.give(log, to.id, is_alone, now) {
                // Where there may be more in others is not looked for twice.
                let more = to.partitions.len() > 1
                    || !cursor.is_drained(log)
                    || (to.with_retried && !group.retrying.is_drained(&group.retried));
                return Some((DeliveryId { partition, id: given.entry.id }, given, more));
            }
        }
        None
    }
}

impl Group {
    pub(super) fn cursor(&mut self, partition: u16) -> Option<&mut Cursor> {
        match partition {
            DeliveryId::RETRIED => Some(&mut self.retrying),
            partition => self.cursors.get_mut(&partition),
        }
    }

    /// It is done. Answers whether it was not.
    pub(super) fn done(&mut self, id: DeliveryId) -> bool {
        let was_pending = self.cursor(id.partition).is_some_and(|cursor| cursor.done(id.id));
        if id.partition == DeliveryId::RETRIED {
            self.retried.forget_before(self.retrying.oldest());
        }
        was_pending
    }

    /// Changes who is in it.
    pub(super) fn set_members(&mut self, change: impl FnOnce(&mut Vec<Arc<Consumer>>)) {
        let mut consumers = self.members.consumers.to_vec();
        change(&mut consumers);
        let is_leased = self.cursors.values().any(|cursor| cursor.leased_to.is_some());
        self.members = Arc::new(Members { consumers: consumers.into(), is_leased });
    }
}

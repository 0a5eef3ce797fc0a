//! What is stored, shown and looked after.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::connection::Connection;
use super::lock;
use super::partition::Entry;
use super::stream::State;
use crate::config::Retention;
use crate::transport::{
    DeadLetter, Doing, EventId, EventLog, Lag, Page, Schemas, Stored, TransportError, Trimmed,
};

impl Connection {
    /// Does something with a stream, if there is one.
    fn with_stream<'a, T: Default + Send + 'a>(
        &'a self,
        event: &str,
        f: impl FnOnce(&mut State) -> T + Send + 'a,
    ) -> Doing<'a, T> {
        let event = event.to_owned();
        self.shared.doing(move || {
            let stream = self.shared.space.streams.get(&event);
            Ok(stream.map(|stream| f(&mut stream.lock())).unwrap_or_default())
        })
    }
}

impl EventLog for Connection {
    fn events(&self) -> Doing<'_, Vec<String>> {
        self.shared.doing(|| Ok(self.shared.space.streams.names()))
    }

    fn groups(&self, event: &str) -> Doing<'_, Vec<String>> {
        self.with_stream(event, |state| state.groups.keys().map(|name| name.to_string()).collect())
    }

    fn lag(&self, event: &str, group: &str) -> Doing<'_, Lag> {
        let group = group.to_owned();
        self.with_stream(event, move |state| state.lag(&group))
    }

    fn history(&self, event: &str, page: Page) -> Doing<'_, Vec<Stored>> {
        self.with_stream(event, move |state| state.history(page))
    }

    fn forget_group(&self, event: &str, group: &str) -> Doing<'_, bool> {
        let (event, group) = (event.to_owned(), group.to_owned());
        self.shared.doing(move || {
            let Some(stream) = self.shared.space.streams.get(&event) else { return Ok(false) };
            let mut state = stream.lock();
            if state.groups.get(&*group).is_some_and(|group| !group.members.consumers.is_empty()) {
                return Err(TransportError::Refused(format!("somebody is in the group {group}")));
            }
            Ok(state.groups.remove(&*group).is_some())
        })
    }

    fn trim(&self, event: &str, retention: Retention) -> Doing<'_, Trimmed> {
        self.with_stream(event, move |state| state.trim(retention))
    }

    fn dead_letters(&self, event: &str, limit: usize) -> Doing<'_, Vec<(EventId, SystemTime, DeadLetter)>> {
        self.with_stream(event, move |state| {
            let letters = state.letters.iter().take(limit);
            letters.map(|(id, (at, letter))| (*id, *at, letter.clone())).collect()
        })
    }

    fn dead_letter_count(&self, event: &str) -> Doing<'_, u64> {
        self.with_stream(event, |state| state.letters.len() as u64)
    }

    fn retry_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool> {
        let event = event.to_owned();
        self.shared.doing(move || {
            let Some(stream) = self.shared.space.streams.get(&event) else { return Ok(false) };
            let group = {
                let mut state = stream.lock();
                let Some((_, letter)) = state.letters.remove(&id) else { return Ok(false) };
                let (id, at) = state.mint();
                let group = state.group(&letter.group, crate::transport::Since::Now);
                group.retried.push(Entry { id, at, message: letter.message });
                letter.group
            };
            stream.kick_group(&group);
            Ok(true)
        })
    }

    fn drop_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool> {
        self.with_stream(event, move |state| state.letters.remove(&id).is_some())
    }
}

impl State {
    fn lag(&self, group: &str) -> Lag {
        let Some(group) = self.groups.get(group) else { return Lag::default() };
        let mut lag = Lag::default();
        for (partition, log) in &self.partitions {
            let next = group.cursors.get(partition).map_or(0, |cursor| cursor.next);
            lag.unread += log.end() - next.clamp(log.first(), log.end());
        }
        lag.unread += group.retried.end() - group.retrying.next;
        lag.pending = group.cursors.values().chain([&group.retrying]).map(|it| it.pending.len() as u64).sum();
        lag
    }

    fn history(&self, page: Page) -> Vec<Stored> {
        let newest = self.partitions.iter().flat_map(|(partition, log)| {
            log.older_than(page.before).take(page.limit).map(|entry| (*partition, entry))
        });
        let mut newest: Vec<_> = newest.collect();
        newest.sort_unstable_by_key(|(_, entry)| std::cmp::Reverse(entry.id));
        newest.truncate(page.limit);
        let stored = newest.into_iter().map(|(partition, entry)| {
            let Entry { id, at, message } = entry.clone();
            Stored { partition, id, at, message }
        });
        stored.collect()
    }

    fn trim(&mut self, retention: Retention) -> Trimmed {
        let (mut trimmed, mut behind) = (Trimmed::default(), BTreeSet::new());
        for (partition, log) in &mut self.partitions {
            let cursors = || self.groups.values().filter_map(|group| group.cursors.get(partition));
            // A group that has never looked there has all of it before it.
            let unseen = self.groups.values().any(|group| !group.cursors.contains_key(partition));
            let oldest = cursors().map(super::partition::Cursor::oldest).chain(unseen.then_some(0)).min();
            let done = oldest.unwrap_or(log.end()).min(log.end().saturating_sub(retention.history as u64));
            let capped = log.end().saturating_sub(retention.cap as u64);
            for index in done.max(log.first())..capped {
                let Some(id) = log.get(index).map(|entry| entry.id) else { continue };
                let late = self.groups.iter().filter(|(_, group)| {
                    !group.cursors.get(partition).is_some_and(|cursor| cursor.has_done(index, id))
                });
                let before = trimmed.lost;
                for (name, _) in late {
                    trimmed.lost = before + 1;
                    behind.insert(name.to_string());
                }
            }
            log.forget_before(done.max(capped));
            for cursor in self.groups.values_mut().filter_map(|group| group.cursors.get_mut(partition)) {
                cursor.forget_before(log.first());
            }
            trimmed.kept = trimmed.kept.max(log.end() - log.first());
        }
        trimmed.behind = behind.into_iter().collect();
        trimmed
    }
}

impl Schemas for Connection {
    fn put(&self, name: &str, schema: String) -> Doing<'_, ()> {
        let name = name.to_owned();
        self.shared.doing(move || {
            lock(&self.shared.space.schemas).insert(name, schema);
            Ok(())
        })
    }

    fn get(&self, name: &str) -> Doing<'_, Option<String>> {
        let name = name.to_owned();
        self.shared.doing(move || Ok(lock(&self.shared.space.schemas).get(&name).cloned()))
    }
}

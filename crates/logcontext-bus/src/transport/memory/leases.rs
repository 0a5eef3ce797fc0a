//! Leases, and who takes part.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::connection::{Connection, Shared};
use super::lock;
use crate::transport::{Doing, Lease, Leases};

#[derive(Default)]
pub(super) struct Leased {
    /// Who has it, until when.
    held: FxHashMap<String, (u64, Instant)>,
    parts: FxHashMap<String, FxHashMap<Arc<str>, Instant>>,
}

impl Leased {
    /// This bus takes part in nothing more.
    pub(super) fn leave_all(&mut self, identity: &str) {
        for part in self.parts.values_mut() {
            part.remove(identity);
        }
        self.parts.retain(|_, part| !part.is_empty());
    }
}

impl Leases for Connection {
    fn acquire(&self, name: &str, time: Duration) -> Doing<'_, Option<Arc<dyn Lease>>> {
        let name = name.to_owned();
        self.shared.doing(move || {
            let now = self.shared.now();
            let mut leased = lock(&self.shared.space.leased);
            if leased.held.get(&name).is_some_and(|(_, until)| now < *until) {
                return Ok(None);
            }
            let id = self.shared.space.next_id();
            leased.held.insert(name.clone(), (id, now + time));
            let lease = Held { id, name, time, shared: Arc::clone(&self.shared) };
            Ok(Some(Arc::new(lease) as Arc<dyn Lease>))
        })
    }

    fn take_part(&self, name: &str, time: Duration) -> Doing<'_, usize> {
        let name = name.to_owned();
        self.shared.doing(move || {
            let now = self.shared.now();
            let mut leased = lock(&self.shared.space.leased);
            let part = leased.parts.entry(name).or_default();
            part.insert(Arc::clone(&self.shared.client.identity), now + time);
            part.retain(|_, until| now < *until);
            Ok(part.len())
        })
    }

    fn leave(&self, name: &str) -> Doing<'_, ()> {
        let name = name.to_owned();
        self.shared.doing(move || {
            if let Some(part) = lock(&self.shared.space.leased).parts.get_mut(&name) {
                part.remove(&*self.shared.client.identity);
            }
            Ok(())
        })
    }
}

struct Held {
    id: u64,
    name: String,
    time: Duration,
    shared: Arc<Shared>,
}

impl Held {
    fn let_go(&self) {
        let mut leased = lock(&self.shared.space.leased);
        if leased.held.get(&self.name).is_some_and(|(id, _)| *id == self.id) {
            leased.held.remove(&self.name);
        }
    }
}

impl Lease for Held {
    fn renew(&self) -> Doing<'_, bool> {
        self.shared.doing(|| {
            let now = self.shared.now();
            let mut leased = lock(&self.shared.space.leased);
            let held = leased.held.get_mut(&self.name).filter(|(id, until)| *id == self.id && now < *until);
            Ok(held.map(|held| held.1 = now + self.time).is_some())
        })
    }

    fn release(&self) -> Doing<'_, ()> {
        self.shared.doing(|| {
            self.let_go();
            Ok(())
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("name", &self.name).finish_non_exhaustive()
    }
}

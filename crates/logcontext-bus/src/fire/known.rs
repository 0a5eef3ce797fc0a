//! The events that a bus has to do with.

use std::any::TypeId;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use logcontext::source::Histogram;
use rustc_hash::FxHashMap;

use crate::bus::Inner;
use crate::error::FireError;
use crate::event::Event;
use crate::name;
use crate::schema::{Check, Sharing, of_event};

/// More partitions than this no event has.
pub(crate) const MAX_PARTITIONS: u16 = 256;

/// The types of events that a bus has fired: looked at once each.
#[derive(Debug)]
pub(crate) struct KnownEvents {
    pub(super) bus: Box<str>,
    by_type: RwLock<FxHashMap<TypeId, Arc<KnownEvent>>>,
}

/// An event that is fired.
#[derive(Debug)]
pub(crate) struct KnownEvent {
    pub(crate) name: &'static str,
    pub(crate) check: Arc<Check>,
    /// How long it took until the broker had it, each time.
    pub(crate) times: Histogram,
    pub(crate) failed: AtomicU64,
}

impl KnownEvents {
    pub(crate) fn new(bus: &str) -> Self {
        Self { bus: bus.into(), by_type: RwLock::default() }
    }

    /// This one.
    ///
    /// # Errors
    /// If it cannot be an event.
    pub(crate) fn of<E: Event>(&self, inner: &Arc<Inner>) -> Result<Arc<KnownEvent>, FireError> {
        let id = TypeId::of::<E>();
        let known = self.by_type.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        name::check("an event", E::NAME)?;
        if !(1..=MAX_PARTITIONS).contains(&E::PARTITIONS) {
            return Err(FireError::Partitions { event: E::NAME, partitions: E::PARTITIONS });
        }
        let known = Arc::new(KnownEvent {
            name: E::NAME,
            check: inner.checks.of::<E>(),
            times: Histogram::seconds(),
            failed: AtomicU64::new(0),
        });
        let mut by_type = self.by_type.write().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::clone(by_type.entry(id).or_insert(known));
        drop(by_type);
        inner.upkeep.look_after(inner, E::NAME);
        Sharing::tell(inner, format!("event {}", E::NAME), of_event::<E>());
        Ok(known)
    }

    pub(super) fn all(&self) -> Vec<Arc<KnownEvent>> {
        self.by_type.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

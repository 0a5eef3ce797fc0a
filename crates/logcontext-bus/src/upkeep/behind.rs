//! Who is behind, and what could not be handled: as it was when streams were last looked after. Of all buses, the one that
//! does that shows it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use logcontext::source::{Collector, Figure, Source};
use rustc_hash::FxHashMap;

use crate::bus::Inner;
use crate::figures::gauge;
use crate::own_group;
use crate::transport::{Lag, TransportError};

const UNREAD: Figure = gauge("bus_group_unread", "Events that a group has not been given yet.");
const PENDING: Figure =
    gauge("bus_group_pending", "Events that a group has been given and has not done yet.");
const DEAD: Figure =
    gauge("bus_dead_letters", "Events that could not be handled, and are kept to be looked at.");

/// What was seen of each event.
#[derive(Debug)]
pub(super) struct Behind {
    bus: String,
    seen: Mutex<FxHashMap<&'static str, Seen>>,
}

#[derive(Debug)]
struct Seen {
    groups: BTreeMap<String, Lag>,
    dead_letters: u64,
}

impl Behind {
    pub(super) fn new(bus: &str) -> Self {
        Self { bus: bus.to_owned(), seen: Mutex::default() }
    }

    pub(super) async fn look(&self, inner: &Inner, event: &'static str) -> Result<(), TransportError> {
        let log = inner.transport.log();
        let mut groups: BTreeMap<String, Lag> = BTreeMap::new();
        for group in log.groups(event).await? {
            let lag = log.lag(event, &group).await?;
            // Of those that are one process's, the one that is the furthest behind: processes come and go, series stay.
            let name = own_group::shared_name(&group).map_or(group.clone(), |shared| format!("{shared}@"));
            let furthest = groups.entry(name).or_default();
            *furthest = Lag::new(furthest.unread.max(lag.unread), furthest.pending.max(lag.pending));
        }
        let dead_letters = log.dead_letter_count(event).await?;
        self.lock().insert(event, Seen { groups, dead_letters });
        Ok(())
    }

    /// Somebody else looks after it.
    pub(super) fn forget(&self, event: &'static str) {
        self.lock().remove(event);
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<&'static str, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Behind {
    fn describe(&self) -> &[Figure] {
        const { &[UNREAD, PENDING, DEAD] }
    }

    fn collect(&self, out: &mut dyn Collector) {
        for (event, seen) in &*self.lock() {
            for (group, lag) in &seen.groups {
                let labels: &[(&'static str, &str)] =
                    &[("bus", &self.bus), ("event", event), ("group", group)];
                out.value(UNREAD.name, labels, lag.unread as f64);
                out.value(PENDING.name, labels, lag.pending as f64);
            }
            out.value(DEAD.name, &[("bus", &self.bus), ("event", event)], seen.dead_letters as f64);
        }
    }
}

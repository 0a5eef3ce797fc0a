//! What a broker keeps.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Doing, EventId, Message};
use crate::config::Retention;

/// How far a group is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lag {
    /// So many it has not been given yet.
    pub unread: u64,
    /// So many it has been given and has not done yet.
    pub pending: u64,
}

impl Lag {
    /// With these.
    pub fn new(unread: u64, pending: u64) -> Self {
        Self { unread, pending }
    }
}

/// A page of a stream, the newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Older than this.
    pub before: Option<EventId>,
    /// So many at most; and those of other partitions that have the id of the last one.
    pub limit: usize,
}

/// An event that is kept.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its partition.
    pub partition: u16,
    /// Where it is in there.
    pub id: EventId,
    /// When the broker got it.
    pub at: SystemTime,
    /// The event.
    pub message: Message,
}

/// An event that a group could not handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The group.
    pub group: Arc<str>,
    /// Why, on one line.
    pub reason: String,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// The event.
    pub message: Message,
}

/// What a trim has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trimmed {
    /// So many are kept now, of the fullest partition.
    pub kept: u64,
    /// So many are gone though a group had not done them: the cap.
    pub lost: u64,
    /// The groups that had not.
    pub behind: Vec<String>,
}

/// Shows what is stored, and looks after it.
pub trait EventLog: Send + Sync {
    /// The names of all events that there are streams of, sorted.
    fn events(&self) -> Doing<'_, Vec<String>>;

    /// The groups of an event, sorted.
    fn groups(&self, event: &str) -> Doing<'_, Vec<String>>;

    /// How far a group is behind, over all partitions.
    fn lag(&self, event: &str, group: &str) -> Doing<'_, Lag>;

    /// What was fired, the newest first.
    fn history(&self, event: &str, page: Page) -> Doing<'_, Vec<Stored>>;

    /// Forgets a group that nobody is in any more, so that nothing is kept for it. Answers whether there was one.
    fn forget_group(&self, event: &str, group: &str) -> Doing<'_, bool>;

    /// Forgets what all groups have, but for what is to be kept; and whatever is beyond the cap.
    fn trim(&self, event: &str, retention: Retention) -> Doing<'_, Trimmed>;

    /// Dead letters of an event, the oldest first, with when they came in.
    fn dead_letters(&self, event: &str, limit: usize) -> Doing<'_, Vec<(EventId, SystemTime, DeadLetter)>>;

    /// So many there are.
    fn dead_letter_count(&self, event: &str) -> Doing<'_, u64>;

    /// Gives it to its group again, as if it was new; it is a dead letter no more. Answers whether there was one.
    fn retry_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool>;

    /// Forgets it. Answers whether there was one.
    fn drop_dead_letter(&self, event: &str, id: EventId) -> Doing<'_, bool>;
}

/// Gives something to one holder at a time.
pub trait Leases: Send + Sync {
    /// Tries to get it for so long. `None`: somebody has it.
    fn acquire(&self, name: &str, time: Duration) -> Doing<'_, Option<Arc<dyn Lease>>>;

    /// Says that this bus takes part in something for so long; answers how many do.
    fn take_part(&self, name: &str, time: Duration) -> Doing<'_, usize>;

    /// Takes part no more.
    fn leave(&self, name: &str) -> Doing<'_, ()>;
}

/// Something that was leased. Let go when it is dropped, as far as that is possible; at the latest when its time is over.
pub trait Lease: fmt::Debug + Send + Sync {
    /// For the same time again, from now. Answers whether it is still its holder's.
    fn renew(&self) -> Doing<'_, bool>;

    /// Lets it go.
    fn release(&self) -> Doing<'_, ()>;
}

/// Keeps the schemas that messages must have, for those who send them.
pub trait Schemas: Send + Sync {
    /// Stores it, in the place of what was there. `name` is the kind and the name: `event presence.changed`.
    fn put(&self, name: &str, schema: String) -> Doing<'_, ()>;

    /// What was stored.
    fn get(&self, name: &str) -> Doing<'_, Option<String>>;
}

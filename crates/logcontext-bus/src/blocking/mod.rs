//! Threads for handlers that block, those of calls and those of events.
//!
//! There is always one more: a job never waits for another to end. So blocking handlers may call blocking handlers that
//! call blocking handlers, as deep as the bus allows; how many run at once is bounded by slots, which are taken before a
//! message is read, and by [`max_nested`](crate::BusConfig::max_nested). The runtime's own pool is not used: it is as
//! large as the user has made it, and a chain that waits for a place in it waits for ever.

mod job;
mod pool;

pub(crate) use job::NotDone;
pub(crate) use pool::Threads;

#[cfg(test)]
mod tests;

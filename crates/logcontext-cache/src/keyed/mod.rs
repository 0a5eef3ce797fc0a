//! Queues per key that know who holds what, and who waits for it.

mod access;
mod figures;
mod linearizer;
mod listing;
mod long_waits;
mod places;
mod queued;
mod running;
mod rwlock;
mod shard;
mod shared;
mod slab;
mod watch;

use logcontext::Counter;

pub use access::Access;
pub use linearizer::{Linearizer, LinearizerBuilder, Turn};
pub use listing::{Holder, Waiter};
pub use queued::Queued;
pub use rwlock::{KeyedRwLock, KeyedRwLockBuilder, Reading, Writing};
pub use shared::QueueKey;

/// Time that a context has spent waiting for keys, in nanoseconds: of every [`Linearizer`] and [`KeyedRwLock`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{FutureExt, LogContext};
/// use logcontext_cache::{KEYED_WAIT, Linearizer};
///
/// let rooms = Linearizer::new("rooms");
/// let request = LogContext::new("PUT-17");
/// let turn = rooms.queue(1).await;
/// let (second, ()) = tokio::join!(rooms.queue(1).in_context(request.clone()), async { drop(turn) });
/// let waited = request.usage().counter(&KEYED_WAIT);
/// assert_eq!(u128::from(waited), second.waited().as_nanos());
/// # }
/// ```
pub static KEYED_WAIT: Counter = Counter::new("keyed_wait_nanos");

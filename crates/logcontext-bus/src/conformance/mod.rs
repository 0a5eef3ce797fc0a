//! What every transport must do, as tests to run on one's own.
//!
//! A transport is put to the test by a [`Broker`] that makes connections to one, and [`conformance!`](crate::conformance!),
//! which writes a test for each behaviour, on a runtime of one thread and on one of several:
//!
//! ```
//! use logcontext_bus::conformance::{self, Broker};
//! use logcontext_bus::transport::Memory;
//!
//! // As this crate's own tests do it for `Memory`:
//! #[cfg(test)]
//! logcontext_bus::conformance!(Memory::new());
//!
//! // Or one of them by itself:
//! conformance::on_one_thread(Memory::new, conformance::events::each_group_gets_each_event);
//! ```
//!
//! The tests judge by what comes, never by how long it took: a broker may be slow. Each works under a
//! [prefix](crate::BusConfig::prefix) of its own, so they may share a server. What needs a broker that can be
//! [troubled](Broker::trouble) is left out where it cannot be.

pub(crate) mod case;
mod list;
pub(crate) mod listener;
pub(crate) mod peer;
mod run;
pub(crate) mod server;
mod service;

pub mod bus_calls;
pub mod bus_events;
pub mod bus_processes;
pub mod calls;
pub mod closing;
pub mod consumers;
pub mod events;
pub mod kept;
pub mod lanes;
pub mod leases;
pub mod load;
pub mod partitions;
pub mod schemas;
pub mod troubles;

#[cfg(test)]
mod tests;

use crate::transport::{Connector, Memory};

pub use case::Case;
pub use run::{on_one_thread, on_several_threads};

/// Something to connect to: a [`Connector`], and what can be done to its broker beside.
///
/// ```
/// use logcontext_bus::ConnectError;
/// use logcontext_bus::conformance::{self, Broker, Trouble};
/// use logcontext_bus::transport::{Connector, Link, Memory, Transport};
/// use std::sync::Arc;
///
/// /// A transport of one's own: here it is another one's.
/// struct Mine(Memory);
///
/// impl Connector for Mine {
///     fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
///         self.0.connect(link)
///     }
/// }
///
/// impl Broker for Mine {
///     fn trouble(&self, trouble: Trouble) -> bool {
///         // A server would be killed here and started again, or a proxy told to close its connections.
///         println!("cannot make {trouble:?}");
///         false
///     }
/// }
///
/// // Runs to its end if the transport behaves like this, and panics if not.
/// conformance::on_several_threads(|| Mine(Memory::new()), conformance::calls::each_caller_gets_its_own_answer);
/// assert!(!Mine(Memory::new()).trouble(Trouble::Restart));
/// ```
pub trait Broker: Connector + Send + Sync + 'static {
    /// Makes trouble, and says whether it could: then it has happened when this returns. It may block. Without it,
    /// behaviours that need trouble are left out, and say so.
    fn trouble(&self, trouble: Trouble) -> bool {
        let _ = trouble;
        false
    }
}

/// What can happen to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It is killed, and started again with all that it has acknowledged.
    Restart,
    /// All connections to it are closed, and it refuses new ones until it is [restored](Self::Restore).
    Cut,
    /// It is as before the cut.
    Restore,
    /// It answers nothing until it is [thawed](Self::Thaw). Connections stay open.
    Freeze,
    /// It goes on, with all that was sent to it meanwhile.
    Thaw,
}

impl Broker for Memory {}

//! Events and calls between the parts of a service, and between services, whose handlers have contexts: whose message
//! it was, what it cost, and whether it was lost.
//!
//! - [`Bus`]: one handle; cloned anywhere, used from any task, thread or runtime, and from sync code.
//! - [`Event`]: [`Bus::fire`] stores it, every group that [listens](Bus::listen) gets it, at least once.
//! - [`Rpc`]: [`Bus::call`] asks, at most once, whoever [serves](Bus::serve) it.
//! - [`Bus::shard`]: splits work among the processes of a service, each shard held by one at a time.
//! - `Outbox` (feature `outbox`): events that are stored with the data, in the same database transaction, and sent from
//!   there: `Bus::fire_in`.
//! - [`transport`]: what a broker must be able to do. In one process ([`Memory`](transport::Memory)), over Redis Streams (feature
//!   `redis`), or over NATS JetStream (feature `nats`).

#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocking;
mod bus;
mod call;
mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod event;
mod figures;
mod fire;
mod handlers;
mod kept;
mod kept_lease;
mod listen;
mod message;
mod name;
#[cfg(feature = "outbox")]
mod outbox;
mod own_group;
mod rpc;
mod schema;
mod sender;
mod serve;
mod shards;
pub mod transport;
mod upkeep;
mod waits;
mod within;

pub use bus::Bus;
pub use call::{Call, Calling};
pub use config::{BusConfig, Retention};
pub use error::{CallError, ConnectError, FireError, ListenError, ServeError, ShardError, Waiting};
pub use event::Event;
pub use fire::Fire;
pub use kept::{BrokerError, BuriedEvent, PastEvent};
pub use listen::{
    BlockingEventHandler, Delivered, EventHandler, Listen, Listener, ListenerState, OnError, Retry,
    StopReason,
};
pub use name::InvalidName;
#[cfg(feature = "outbox")]
pub use outbox::{FireInError, Outbox, OutboxConfig, OutboxError, SetAside};
pub use rpc::Rpc;
pub use schema::SchemaSet;
pub use serve::{Caller, Serve, Served};
pub use shards::{Shard, Sharding};

/// The guide's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/bus.md")]
pub struct Guide;

/// The guide's examples are tests.
#[cfg(all(doctest, feature = "outbox"))]
#[doc = include_str!("../../../docs/guide/outbox.md")]
pub struct OutboxGuide;

/// The guide's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/remote-cost.md")]
pub struct RemoteCostGuide;

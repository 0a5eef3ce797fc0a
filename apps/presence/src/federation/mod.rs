//! Presence between hubs: who they are, what they tell each other, and what others may ask.
//!
//! A hub is one deployment: its processes, its database, its part of a broker. What it tells others is sent by its
//! [`sender`](crate::sender).

mod hub;
mod messages;
mod peers;
mod settings;
mod url;
mod wire;

pub use hub::{HubName, InvalidHubName};
pub use messages::FollowsChanged;
pub(crate) use peers::Peers;
pub use settings::{FederationSettings, HubSettings};
pub use url::HubUrl;
pub use wire::{MAX_STATES, MAX_TRANSACTION, Received, ToldState};

pub use crate::api::federation::routes;

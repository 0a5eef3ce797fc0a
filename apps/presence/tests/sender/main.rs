//! What other hubs are told of presence.

mod batching;
mod behind;
#[path = "../common/mod.rs"]
mod common;
mod handover;
mod hub;
mod model;
mod scale;
mod world;

//! What other hubs are told of presence.

#[path = "../common/mod.rs"]
mod common;
mod batching;
mod behind;
mod handover;
mod hub;
mod model;
mod scale;
mod world;

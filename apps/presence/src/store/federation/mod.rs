//! What hubs follow and tell each other, and how far each was told.

mod changes;
mod destinations;
mod follows;
mod remote;
mod schema;

pub use changes::{Change, Page};
pub use destinations::{Destination, Position};
pub use follows::FollowError;
pub(super) use schema::migrations;

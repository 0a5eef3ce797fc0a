//! The layer that gives each request its context.

mod body;
mod exchange;
mod future;
mod layer;
mod service;

pub use body::ContextBody;
pub use future::ContextFuture;
pub use layer::ContextLayer;
pub use service::ContextService;

pub(crate) use exchange::{End, Exchange};
pub(crate) use layer::Config;

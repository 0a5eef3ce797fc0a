//! The layer that gives each request its context.

mod body;
mod config;
mod exchange;
mod future;
mod headers;
mod layer;
mod panic;
mod service;

pub use body::ContextBody;
pub use future::ContextFuture;
pub use layer::ContextLayer;
pub use panic::{EmptyPanicResponse, PanicResponse};
pub use service::ContextService;

pub(crate) use config::{Config, Traces};
pub(crate) use exchange::{End, Exchange};

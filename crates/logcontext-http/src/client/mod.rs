//! Calls by HTTP: they carry their request's trace on, and what they cost elsewhere comes home.

mod future;
mod layer;

pub use future::ClientFuture;
pub use layer::{ClientLayer, ClientService};

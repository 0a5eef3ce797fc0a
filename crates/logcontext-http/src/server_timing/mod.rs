//! Who may see what a response has cost, for [`ContextLayer::server_timing`](crate::ContextLayer::server_timing); and
//! what a response says it has cost, for clients.

mod cost;
mod metrics;

pub use cost::remote_usage;
pub(crate) use cost::{SERVER_TIMING, figures};

use http::request::Parts;

use crate::connection::ConnectionInfo;

/// Everybody: for development, and for services that nobody reaches from outside. How long the database took
/// tells strangers whether something exists.
pub fn always(_: &Parts) -> bool {
    true
}

/// Clients on the same machine, over Unix sockets as well, as far as their [`ConnectionInfo`] says. Behind a proxy
/// on the same machine, that is everybody.
///
/// ```
/// use logcontext_http::{ConnectionInfo, server_timing};
///
/// # fn main() -> Result<(), std::net::AddrParseError> {
/// let from = |connection: ConnectionInfo| {
///     let mut parts = http::Request::new(()).into_parts().0;
///     parts.extensions.insert(connection);
///     parts
/// };
/// let local = "127.0.0.1:8008".parse()?;
/// assert!(server_timing::loopback_clients(&from(ConnectionInfo::new("127.0.0.1:50123".parse()?, local))));
/// assert!(server_timing::loopback_clients(&from(ConnectionInfo::unix())));
/// assert!(!server_timing::loopback_clients(&from(ConnectionInfo::new("192.0.2.7:50123".parse()?, local))));
/// # Ok(())
/// # }
/// ```
pub fn loopback_clients(request: &Parts) -> bool {
    let connection = request.extensions.get::<ConnectionInfo>();
    connection.is_some_and(|connection| {
        connection.peer().map_or_else(|| connection.is_unix(), |peer| peer.ip().to_canonical().is_loopback())
    })
}

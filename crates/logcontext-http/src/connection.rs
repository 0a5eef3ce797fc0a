//! What a request knows of the connection that it came in by.

use std::net::SocketAddr;
use std::sync::Arc;

/// The two ends of the connection that a request came in by: in its extensions, put there by
/// [`serve`](crate::serve). With an accept loop of your own, put it there yourself.
///
/// ```
/// use logcontext_http::ConnectionInfo;
///
/// # fn main() -> Result<(), std::net::AddrParseError> {
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(ConnectionInfo::new("192.0.2.7:50123".parse()?, "192.0.2.1:8008".parse()?));
///
/// let info = request.extensions().get::<ConnectionInfo>().unwrap();
/// assert_eq!((info.peer.port(), info.local.port()), (50123, 8008));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// The client's end.
    pub peer: SocketAddr,
    /// The server's end.
    pub local: SocketAddr,
    /// The client's address as text: written once a connection, not once a request.
    client: Arc<str>,
}

impl ConnectionInfo {
    /// A connection between these two.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        Self { peer, local, client: peer.ip().to_canonical().to_string().into() }
    }

    pub(crate) fn client(&self) -> &str {
        &self.client
    }
}

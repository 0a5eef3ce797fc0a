//! What a request knows of the connection that it came in by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

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
    closed: ClosedByClient,
}

/// Whether the client has closed its end, or broken off: set by whoever reads from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClosedByClient(Arc<AtomicBool>);

impl ClosedByClient {
    #[cfg(feature = "server")]
    pub(crate) fn set(&self) {
        self.0.store(true, Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

impl ConnectionInfo {
    /// A connection between these two.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let client = peer.ip().to_canonical().to_string().into();
        Self { peer, local, client, closed: ClosedByClient::default() }
    }

    pub(crate) fn client(&self) -> Arc<str> {
        Arc::clone(&self.client)
    }

    pub(crate) fn closed(&self) -> &ClosedByClient {
        &self.closed
    }
}

//! What a request knows of the connection that it came in by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

#[cfg(all(unix, feature = "server"))]
use crate::access::Escaped;

/// What Unix clients are called, who have no address.
const UNIX: &str = "unix";

/// The connection that a request came in by: in its extensions, put there by [`serve`](crate::serve). With an
/// accept loop of your own, put it there yourself. Cheap to clone; clones are of the same connection.
///
/// ```
/// use logcontext_http::ConnectionInfo;
///
/// # fn main() -> Result<(), std::net::AddrParseError> {
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(ConnectionInfo::new("192.0.2.7:50123".parse()?, "192.0.2.1:8008".parse()?));
///
/// let info = request.extensions().get::<ConnectionInfo>().unwrap();
/// assert_eq!(info.peer().unwrap().port(), 50123);
/// assert_eq!(info.local().unwrap().port(), 8008);
/// assert!(!info.is_unix() && !info.is_tls());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ConnectionInfo(Arc<Connection>);

#[derive(Debug)]
struct Connection {
    ends: Ends,
    tls: bool,
    /// The client as text: written once a connection, not once a request.
    client: Arc<str>,
    closed_by_client: AtomicBool,
    left: AtomicBool,
    has_body: AtomicBool,
    refused: AtomicBool,
}

#[derive(Clone, Debug)]
enum Ends {
    Internet {
        peer: SocketAddr,
        local: SocketAddr,
    },
    /// With the name of the socket's file.
    Unix(Option<Arc<str>>),
}

impl ConnectionInfo {
    /// A connection between these two.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Self {
        let client = peer.ip().to_canonical().to_string().into();
        Self::with(Ends::Internet { peer, local }, client)
    }

    /// A connection from the same machine that has no addresses: over a Unix socket, or within the process. The
    /// access line calls its client `unix`.
    ///
    /// ```
    /// use logcontext_http::ConnectionInfo;
    ///
    /// let info = ConnectionInfo::unix();
    /// assert_eq!((info.peer(), info.local()), (None, None));
    /// assert!(info.is_unix());
    /// ```
    pub fn unix() -> Self {
        Self::with(Ends::Unix(None), UNIX.into())
    }

    /// One over the Unix socket of this name, by which the access line knows the listener.
    #[cfg(all(unix, feature = "server"))]
    pub(crate) fn unix_named(socket: Option<&str>) -> Self {
        // As it goes into a line of text, between spaces.
        let socket = socket.map(|name| Escaped::or_dash(Some(name), b' ').to_string().into());
        Self::with(Ends::Unix(socket), UNIX.into())
    }

    fn with(ends: Ends, client: Arc<str>) -> Self {
        Self(Arc::new(Connection {
            ends,
            tls: false,
            client,
            closed_by_client: AtomicBool::new(false),
            left: AtomicBool::new(false),
            has_body: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        }))
    }

    /// The same, encrypted by TLS.
    ///
    /// ```
    /// use logcontext_http::ConnectionInfo;
    ///
    /// assert!(ConnectionInfo::unix().encrypted().is_tls());
    /// ```
    #[must_use]
    pub fn encrypted(self) -> Self {
        let Connection { ends, client, .. } = &*self.0;
        Self(Arc::new(Connection {
            ends: ends.clone(),
            tls: true,
            client: Arc::clone(client),
            closed_by_client: AtomicBool::new(self.is_closed_by_client()),
            left: AtomicBool::new(self.has_left()),
            has_body: AtomicBool::new(self.has_body()),
            refused: AtomicBool::new(self.is_refused()),
        }))
    }

    /// The client's end; `None` over a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self.0.ends {
            Ends::Internet { peer, .. } => Some(peer),
            Ends::Unix(_) => None,
        }
    }

    /// The server's end; `None` over a Unix socket.
    pub fn local(&self) -> Option<SocketAddr> {
        match self.0.ends {
            Ends::Internet { local, .. } => Some(local),
            Ends::Unix(_) => None,
        }
    }

    /// Is it over a Unix socket? Then the client is on the same machine.
    pub fn is_unix(&self) -> bool {
        matches!(self.0.ends, Ends::Unix(_))
    }

    /// Is it encrypted by TLS?
    pub fn is_tls(&self) -> bool {
        self.0.tls
    }

    pub(crate) fn client(&self) -> Arc<str> {
        Arc::clone(&self.0.client)
    }

    /// What the access line calls the listener, if nobody has named it.
    pub(crate) fn listener(&self) -> Option<Listener<'_>> {
        match &self.0.ends {
            Ends::Internet { local, .. } => Some(Listener::Port(local.port())),
            Ends::Unix(socket) => socket.as_deref().map(Listener::Socket),
        }
    }

    /// Has the client closed its end, or broken off? Whoever reads from it knows.
    pub(crate) fn is_closed_by_client(&self) -> bool {
        self.0.closed_by_client.load(Relaxed)
    }

    #[cfg(feature = "server")]
    pub(crate) fn set_closed_by_client(&self) {
        self.0.closed_by_client.store(true, Relaxed);
    }

    /// Has the client left while nothing was read from it? Nobody waits for what its request comes to.
    pub(crate) fn has_left(&self) -> bool {
        self.0.left.load(Relaxed)
    }

    #[cfg(feature = "server")]
    pub(crate) fn set_left(&self, left: bool) {
        self.0.left.store(left, Relaxed);
    }

    /// Has the request that is under way a body?
    pub(crate) fn has_body(&self) -> bool {
        self.0.has_body.load(Relaxed)
    }

    #[cfg(feature = "server")]
    pub(crate) fn set_has_body(&self, has_body: bool) {
        self.0.has_body.store(has_body, Relaxed);
    }

    /// Was the client refused while it may still have been sending?
    pub(crate) fn is_refused(&self) -> bool {
        self.0.refused.load(Relaxed)
    }

    #[cfg(feature = "server")]
    pub(crate) fn set_refused(&self) {
        self.0.refused.store(true, Relaxed);
    }
}

/// What came in, as far as it has a name of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listener<'a> {
    Port(u16),
    Socket(&'a str),
}

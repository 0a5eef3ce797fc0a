//! A line to a server that fails on command.

mod address;
mod connection;
mod listener;
mod state;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::port;
use listener::Listener;
use state::State;

/// A line to a server, whatever it speaks: clients that connect to [`url`](Self::url) talk to the server at the other
/// end, until a test cuts or freezes the line. It ends when this is dropped, with all its connections.
///
/// ```no_run
/// use logcontext_testservers::{Link, Redis};
///
/// let redis = Redis::shared().unwrap();
/// let link = Link::to(redis.url());
/// assert_ne!(link.url(), redis.url());
/// // A client of link.url() now reaches the server ..
/// link.cut();
/// // .. and now it is disconnected, and refused when it tries again.
/// link.restore();
/// ```
pub struct Link {
    url: String,
    port: u16,
    state: Arc<State>,
}

impl Link {
    /// A line to the server with this URL, such as `redis://127.0.0.1:6379/`. It must name host and port. Nothing is
    /// sent to the server before a client connects.
    ///
    /// # Panics
    ///
    /// If the URL names no address, or no port of this machine can be had.
    #[track_caller]
    pub fn to(url: &str) -> Self {
        let server = address::of(url).unwrap_or_else(|| panic!("no address of a server in {url}"));
        let state = Arc::new(State::new(server));
        let (listener, port) = loop {
            let port = port::free();
            if let Ok(listener) = Listener::bind(port, &state) {
                break (listener, port);
            }
        };
        state.open(listener);
        Self { url: address::replaced(url, SocketAddr::from(([127, 0, 0, 1], port))), port, state }
    }

    /// The server's URL with the line's address in place of its own.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many connections of clients are open.
    pub fn connections(&self) -> usize {
        self.state.connections()
    }

    /// Closes all connections, at both ends, and has new ones refused until [`restore`](Self::restore). Nothing goes
    /// through the line any more when this returns. Does nothing where it is cut already.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// Accepts connections again after a [`cut`](Self::cut), on the same port. Does nothing where it is not cut.
    ///
    /// # Panics
    ///
    /// If someone else has taken the port meanwhile, and does not give it back.
    #[track_caller]
    pub fn restore(&self) {
        if !self.state.is_open() {
            let listener = crate::poll::poll(|| Listener::bind(self.port, &self.state).ok());
            self.state.open(listener.unwrap_or_else(|| panic!("someone else has taken port {}", self.port)));
        }
    }

    /// Forwards nothing of what is sent after this call, in either direction, until [`thaw`](Self::thaw): connections
    /// stay open, new ones are accepted and led nowhere, and ends are not told on.
    pub fn freeze(&self) {
        self.state.freeze(true);
    }

    /// Forwards again after a [`freeze`](Self::freeze), first of all what has waited. Nothing is lost.
    pub fn thaw(&self) {
        self.state.freeze(false);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.cut();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("url", &self.url).field("server", &self.state.server()).finish()
    }
}

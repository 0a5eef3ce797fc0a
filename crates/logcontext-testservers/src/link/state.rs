//! What the threads of a line have in common.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::connection::Connection;
use super::listener::Listener;

pub(super) struct State {
    server: SocketAddr,
    inner: Mutex<Inner>,
    /// A line was cut or thawed.
    changed: Condvar,
}

#[derive(Default)]
struct Inner {
    /// `None` while cut
    listener: Option<Listener>,
    is_frozen: bool,
    /// While true, all connections end.
    is_cut: bool,
    connections: Vec<Connection>,
}

impl State {
    pub(super) fn new(server: SocketAddr) -> Self {
        Self { server, inner: Mutex::default(), changed: Condvar::new() }
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    pub(super) fn open(&self, listener: Listener) {
        let mut inner = self.lock();
        inner.is_cut = false;
        inner.listener = Some(listener);
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().listener.is_some()
    }

    pub(super) fn connections(&self) -> usize {
        self.lock().connections.iter().filter(|connection| !connection.is_over()).count()
    }

    pub(super) fn accept(self: &Arc<Self>, client: TcpStream) {
        let mut inner = self.lock();
        inner.connections.retain(|connection| !connection.is_over());
        // Where no thread can be had, the client is disconnected.
        if !inner.is_cut
            && let Ok(connection) = Connection::start(client, Arc::clone(self))
        {
            inner.connections.push(connection);
        }
    }

    pub(super) fn cut(&self) {
        let (listener, connections) = {
            let mut inner = self.lock();
            inner.is_cut = true;
            (inner.listener.take(), std::mem::take(&mut inner.connections))
        };
        self.changed.notify_all();
        if let Some(listener) = listener {
            listener.close();
        }
        connections.iter().for_each(Connection::shut);
        connections.into_iter().for_each(Connection::join);
    }

    pub(super) fn freeze(&self, is_frozen: bool) {
        self.lock().is_frozen = is_frozen;
        self.changed.notify_all();
    }

    /// Waits while the line is frozen. False where it is cut.
    pub(super) fn may_forward(&self) -> bool {
        let waited = self.changed.wait_while(self.lock(), |inner| inner.is_frozen && !inner.is_cut);
        !waited.unwrap_or_else(PoisonError::into_inner).is_cut
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What is in here is consistent at any time.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Accepts clients.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use super::state::State;

/// A thread that accepts clients until it is closed.
pub(super) struct Listener {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Listener {
    #[expect(clippy::disallowed_methods, reason = "there are no contexts here")]
    pub(super) fn bind(port: u16, state: &Arc<State>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let (address, closed) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let (flag, state) = (Arc::clone(&closed), Arc::clone(state));
        let thread = thread::Builder::new().name("link".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if flag.load(Ordering::Acquire) {
                    return;
                }
                // Where the client is gone again already, so be it.
                if let Ok(client) = client {
                    state.accept(client);
                }
            }
        })?;
        Ok(Self { address, closed, thread })
    }

    /// New clients are refused when this returns.
    pub(super) fn close(self) {
        self.closed.store(true, Ordering::Release);
        // It waits for a client: this is one.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.join();
    }
}

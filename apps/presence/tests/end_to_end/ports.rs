//! Ports that processes come back on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// A loopback address that nobody listens on, below those that outgoing connections are given: who keeps trying to reach
/// a process that is gone must not end up talking to itself.
pub(crate) fn free() -> SocketAddr {
    let mut random = [0; 2];
    loop {
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut random))
            .unwrap();
        let port = 15_000 + u16::from_le_bytes(random) % 15_000;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener.local_addr().unwrap();
        }
    }
}

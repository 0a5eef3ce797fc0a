//! Ports that nobody listens on.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below the ports that Linux and macOS give to outgoing connections. From those, a client that keeps trying to
/// reach a stopped server would in the end be given the server's own port, be connected to itself, and keep the
/// server from coming back.
const FIRST: u16 = 15_000;
const COUNT: u16 = 15_000;

/// A loopback port that was free a moment ago. Someone else may take it before the server does, so be ready to
/// try another.
pub(crate) fn free() -> u16 {
    let mut port = random() % u64::from(COUNT);
    loop {
        let candidate = FIRST + u16::try_from(port).unwrap_or_default();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)).is_ok() {
            return candidate;
        }
        port = (port + 1) % u64::from(COUNT);
    }
}

/// Of the standard library: each such hasher has keys that differ from run to run.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_someone_listens_on_is_not_free() {
        let held: Vec<TcpListener> =
            (0..50).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, free())).unwrap()).collect();
        let mut ports: Vec<u16> = held.iter().map(|held| held.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| (FIRST..FIRST + COUNT).contains(port)));
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 50);
    }
}

//! Ports that nobody listens on.

use std::net::{Ipv4Addr, TcpListener};

/// Below the ports that systems give to outgoing connections, so that none of those takes one while its process is
/// killed and started again.
const RANGE: std::ops::Range<u16> = 15_000..30_000;

/// A loopback port that was free a moment ago. Somebody may take it before the process does: then start anew.
pub(super) fn free(random: &mut fastrand::Rng) -> u16 {
    loop {
        let port = random.u16(RANGE);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

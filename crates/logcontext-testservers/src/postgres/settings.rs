//! What `postgresql.conf` says.

use std::fmt::Write as _;

/// Lines of `postgresql.conf`: ours, then these. Of two that name the same setting, the later one counts.
pub(super) fn configuration(settings: &[(&str, &str)]) -> String {
    let mut lines = String::new();
    for (name, value) in DEFAULTS.iter().chain(settings) {
        let _ = writeln!(lines, "{name} = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
    }
    lines
}

const DEFAULTS: [(&str, &str); 5] = [
    ("listen_addresses", "127.0.0.1"),
    // A path below a temporary folder can be too long for a socket, and nobody needs one.
    ("unix_socket_directories", ""),
    // What is committed must survive a crash of the server, not one of the machine: so commits stay synchronous,
    // which costs little without fsync.
    ("fsync", "off"),
    ("full_page_writes", "off"),
    // One server serves many test processes.
    ("max_connections", "200"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        let lines = configuration(&[("a", "it's"), ("b", "\\"), ("b", "")]);
        assert!(lines.ends_with("a = 'it''s'\nb = '\\\\'\nb = ''\n"), "{lines}");
    }
}

//! What `redis.conf` says.

use std::fmt::Write as _;
use std::path::Path;

/// Each command is on the disk before it is answered.
pub(super) const DURABLE: [(&str, &str); 2] = [("appendonly", "yes"), ("appendfsync", "always")];

/// Nothing is written down.
pub(super) const IN_MEMORY: [(&str, &str); 1] = [("appendonly", "no")];

/// Lines of `redis.conf`: ours, then these. Of two that name the same setting, the later one counts.
pub(super) fn configuration(data: &Path, process_file: &Path, settings: &[(&str, &str)]) -> String {
    let ours = [
        ("bind", "127.0.0.1"),
        ("daemonize", "no"),
        // No snapshots: they would come in the middle of a test, in a process of their own.
        ("save", ""),
        ("dir", &*data.to_string_lossy()),
        ("pidfile", &*process_file.to_string_lossy()),
    ];
    let mut lines = String::new();
    for (name, value) in ours.iter().chain(settings) {
        let _ = writeln!(lines, "{name} \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_quotes() {
        let lines =
            configuration(Path::new("/d"), Path::new("/p"), &[("a", "a \"b\""), ("b", "\\"), ("b", "")]);
        assert!(lines.ends_with("a \"a \\\"b\\\"\"\nb \"\\\\\"\nb \"\"\n"), "{lines}");
    }
}

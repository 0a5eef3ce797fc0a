//! What the log has to show.

use std::path::Path;

/// A few of the service's access lines, without the fields that follow: one of somebody known, one that read rows,
/// one that burned CPU, one whose client had left.
pub(super) fn access_lines(log: &Path) -> Vec<String> {
    let Ok(log) = std::fs::read_to_string(log) else { return Vec::new() };
    let ends = log.lines().filter_map(|line| Some(&line[..line.find(" dbevts]")? + " dbevts]".len()]));
    let lines: Vec<_> = ends.collect();
    let kinds: [fn(&str) -> bool; 4] = [
        |line| line.contains("\"PUT /presence/") && !line.contains("{-}"),
        |line| line.contains("/history"),
        |line| line.contains("\"POST /demo/burn "),
        |line| line.contains("200! "),
    ];
    kinds
        .iter()
        .filter_map(|kind| lines.iter().rfind(|line| kind(line)))
        .map(|line| (*line).to_owned())
        .collect()
}

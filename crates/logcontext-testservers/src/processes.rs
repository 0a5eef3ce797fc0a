//! Processes by their ids.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::process::{Command, Stdio};

/// Sends a signal, such as `STOP`, to each of the processes that is still there.
pub(crate) fn signal(name: &str, processes: &[u32]) -> io::Result<()> {
    // The shell's own `kill`: not every machine has the program.
    Command::new("/bin/sh")
        .args(["-c", "kill -s \"$@\"", "sh", name])
        .args(processes.iter().map(u32::to_string))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(drop)
}

/// The processes that this one has started and that are still there.
pub(crate) fn children_of(parent: u32) -> io::Result<Vec<u32>> {
    let parents = if fs::exists("/proc/self/stat")? { from_proc()? } else { from_ps()? };
    Ok(parents.into_iter().filter(|(_, of)| *of == parent).map(|(process, _)| process).collect())
}

/// Each process and its parent.
fn from_proc() -> io::Result<HashMap<u32, u32>> {
    let mut parents = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Gone meanwhile?
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_in(&stat) {
            parents.insert(process, parent);
        }
    }
    Ok(parents)
}

/// From `id (name) state parent ...`, where the name can have blanks and parentheses.
fn parent_in(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn from_ps() -> io::Result<HashMap<u32, u32>> {
    let output = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
            Some((numbers.next()??, numbers.next()??))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_name_with_blanks_and_parentheses_hides_no_parent() {
        assert_eq!(parent_in("7 (a) b (c)) S 42 7 7 0 -1"), Some(42));
        assert_eq!(parent_in("7 (a"), None);
        assert_eq!(parent_in(""), None);
    }

    #[test]
    fn a_child_is_found_and_gets_its_signal() {
        let mut child =
            Command::new("/bin/sh").args(["-c", "read -r _"]).stdin(Stdio::piped()).spawn().unwrap();
        assert!(children_of(std::process::id()).unwrap().contains(&child.id()));
        signal("TERM", &[child.id()]).unwrap();
        // Were it closed, the child would end without a signal.
        let pipe = child.stdin.take();
        assert_eq!(child.wait().unwrap().signal(), Some(15));
        drop(pipe);
        assert!(!children_of(std::process::id()).unwrap().contains(&child.id()));
    }
}

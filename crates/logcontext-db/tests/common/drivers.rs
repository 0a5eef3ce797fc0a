//! The threads on which SQLite runs, as the system sees them: those that live.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{DirEntry, read_dir, read_to_string};
use std::time::Duration;

/// What each has burned.
pub(crate) fn cpu() -> BTreeMap<OsString, Duration> {
    let tasks = read_dir("/proc/self/task").expect("Linux").flatten();
    // Nothing if it is gone.
    let read = |task: &DirEntry, file| read_to_string(task.path().join(file)).unwrap_or_default();
    tasks
        .filter(|task| read(task, "comm").starts_with("sqlite-"))
        .map(|task| {
            let stat = read(&task, "schedstat");
            let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
            (task.file_name(), Duration::from_nanos(nanos))
        })
        .collect()
}

//! Waiting for another process, which cannot wake us.

use std::thread;
use std::time::{Duration, Instant};

/// Far more than any server needs on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Asks until there is an answer, for [`DEADLINE`] at most.
pub(crate) fn poll<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if start.elapsed() > DEADLINE {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

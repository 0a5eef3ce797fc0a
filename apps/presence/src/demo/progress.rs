//! A line a second.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};

use super::tally::Tally;
use crate::show::count;

/// Shows how it goes, for as long as it is polled: rewritten in place on a terminal, else line by line.
pub(super) async fn show_progress(tally: &Tally) {
    let in_place = stderr().is_terminal();
    let started = Instant::now();
    let second = Duration::from_secs(1);
    let mut ticks = interval_at(tokio::time::Instant::now() + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before = tally.counts().sent;
    loop {
        ticks.tick().await;
        let now = tally.counts();
        let line = format!(
            "{:>4.0} s  {:>9} requests  {:>7}/s  {:>3} in flight  {:>6} server errors  {:>6} left early",
            started.elapsed().as_secs_f64(),
            count(now.sent),
            count(now.sent - before),
            now.in_flight(),
            count(now.server_errors),
            count(now.left),
        );
        before = now.sent;
        // Nobody may be looking any more: that does not end the demo.
        let _ = if in_place { write!(stderr(), "\r\x1b[2K{line}") } else { writeln!(stderr(), "{line}") };
    }
}

/// Makes room for what is written after the last line.
pub(super) fn clear_progress() {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[2K");
    }
}

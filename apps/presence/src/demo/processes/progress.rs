//! A line a second.

use std::io::{IsTerminal, Write, stderr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};

use super::changes::Counts;
use crate::show::count;

/// Shows how it goes, for as long as it is polled: rewritten in place on a terminal, else line by line.
pub(super) async fn show(counts: &Counts) {
    let in_place = stderr().is_terminal();
    let (started, second) = (Instant::now(), Duration::from_secs(1));
    let mut ticks = interval_at(tokio::time::Instant::now() + second, second);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let line = format!(
            "{:>4.0} s  {:>9} changes acknowledged  {:>6} tries failed  {:>6} changes given up",
            started.elapsed().as_secs_f64(),
            count(counts.acknowledged.load(Relaxed)),
            count(counts.tried_again.load(Relaxed)),
            count(counts.not_acknowledged.load(Relaxed)),
        );
        // Nobody may be looking any more: that does not end the demo.
        let _ = if in_place { write!(stderr(), "\r\x1b[2K{line}") } else { writeln!(stderr(), "{line}") };
    }
}

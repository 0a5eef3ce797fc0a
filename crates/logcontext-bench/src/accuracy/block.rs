//! Polls that block their thread, long and short, and what that does to an innocent neighbour.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::alarm::Alarm;
use super::{Costs, Errors, Nested, runtime, spawn, to_the_end_of_the_queue, under_contention};
use crate::Effort;
use crate::stats::Samples;

/// Half a millisecond of work, then two asleep: two such tasks on two workers, two other threads in their way.
/// The one that is farther off counts.
pub(super) fn long(
    costs: &Costs,
    effort: Effort,
    errors: &mut Errors,
    lengths: &mut BTreeMap<&'static str, Samples>,
) {
    let polls = effort.of(100);
    let lengths_seen = Arc::new(Mutex::new(Samples::default()));
    let tasks = [Nested::new("block_2ms"), Nested::new("block_2ms")];
    under_contention(2, || {
        let runtime = runtime(2);
        let handles = tasks.clone().map(|task| {
            let (costs, seen) = (*costs, Arc::clone(&lengths_seen));
            spawn(&runtime, async move {
                for _ in 0..polls {
                    task.poll(|| {
                        costs.burn(250);
                        timed(&seen, || sleep(Duration::from_millis(2)));
                    })
                    .await;
                    to_the_end_of_the_queue().await;
                }
            })
        });
        for handle in handles {
            runtime.block_on(handle).expect("a task that works and sleeps");
        }
    });
    let error =
        tasks.map(|task| task.error_pct(costs)).into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs()));
    errors.entry("block_2ms").or_default().push(error.unwrap_or_default());
    lengths.entry("block_2ms").or_default().push(median(&lengths_seen));
}

/// 5 us of work, then blocked for 15 or 40 us in the same poll; on the same worker a neighbour that has done
/// nothing wrong, with polls of 6 us. One worker, one thread that unblocks it, one more in their way.
pub(super) fn short(
    costs: &Costs,
    effort: Effort,
    errors: &mut Errors,
    lengths: &mut BTreeMap<&'static str, Samples>,
) {
    for (key, victim_key, micros) in
        [("block_15us", "victim_block_15us", 15), ("block_40us", "victim_block_40us", 40)]
    {
        let polls = effort.of(8_000);
        let seen = Arc::new(Mutex::new(Samples::default()));
        let (task, victim) = (Nested::new(key), Nested::new(victim_key));
        under_contention(1, || {
            Alarm::with(|alarm| {
                let runtime = runtime(1);
                let done = Arc::new(AtomicBool::new(false));
                let blocking = spawn(&runtime, {
                    let (costs, task, seen, done) =
                        (*costs, task.clone(), Arc::clone(&seen), Arc::clone(&done));
                    async move {
                        for _ in 0..polls {
                            task.poll(|| {
                                for_about(&costs, 5);
                                timed(&seen, || alarm.block(Duration::from_micros(micros)));
                            })
                            .await;
                            to_the_end_of_the_queue().await;
                        }
                        done.store(true, Relaxed);
                    }
                });
                let innocent = spawn(&runtime, {
                    let (costs, victim) = (*costs, victim.clone());
                    async move {
                        while !done.load(Relaxed) {
                            victim.poll(|| for_about(&costs, 6)).await;
                            to_the_end_of_the_queue().await;
                        }
                    }
                });
                runtime.block_on(blocking).expect("a task that works and blocks");
                runtime.block_on(innocent).expect("a task that only computes");
            });
        });
        errors.entry(key).or_default().push(task.error_pct(costs));
        errors.entry(victim_key).or_default().push(victim.error_pct(costs));
        lengths.entry(key).or_default().push(median(&seen));
    }
}

/// So many microseconds of work.
pub(super) fn for_about(costs: &Costs, micros: u32) {
    super::unit(costs.iterations / 2 * micros);
}

fn timed(seen: &Mutex<Samples>, f: impl FnOnce()) {
    let start = Instant::now();
    f();
    let micros = start.elapsed().as_secs_f64() * 1e6;
    seen.lock().expect("nobody panics with it").push(micros);
}

fn median(seen: &Mutex<Samples>) -> f64 {
    seen.lock().expect("nobody panics with it").median()
}

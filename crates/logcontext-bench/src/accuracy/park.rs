//! Short polls between which the worker parks, and what that does to an innocent neighbour.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::alarm::Alarm;
use super::block::for_about;
use super::{Costs, Errors, Nested, runtime, spawn, under_contention};
use crate::Effort;
use crate::stats::Samples;

/// Two tasks with polls of 5 and of 6 us, on one worker. When both have had their turn the worker has nothing
/// to do and parks; 10 or 40 us later another thread wakes both. Who is first takes turns: it is polled right
/// after the park, the other, the victim, mostly not.
pub(super) fn run(
    costs: &Costs,
    effort: Effort,
    errors: &mut Errors,
    lengths: &mut BTreeMap<&'static str, Samples>,
) {
    for (key, victim_key, micros) in
        [("park_10us", "victim_park_10us", 10), ("park_40us", "victim_park_40us", 40)]
    {
        let rounds = effort.of(8_000) as u64;
        let (first, second) = (Nested::new(key), Nested::new(victim_key));
        let meeting = Arc::new(Mutex::new(Meeting::default()));
        under_contention(1, || {
            Alarm::with(|alarm| {
                let runtime = runtime(1);
                let tasks = [(&first, 5), (&second, 6)].map(|(task, work)| {
                    let (costs, task, meeting, alarm) =
                        (*costs, task.clone(), Arc::clone(&meeting), alarm.clone());
                    spawn(&runtime, async move {
                        for round in 0..rounds {
                            task.poll(|| for_about(&costs, work)).await;
                            parked(&meeting, round, &alarm, Duration::from_micros(micros)).await;
                        }
                    })
                });
                drop(alarm);
                for task in tasks {
                    runtime.block_on(task).expect("a task that works and waits");
                }
            });
        });
        errors.entry(key).or_default().push(first.error_pct(costs));
        errors.entry(victim_key).or_default().push(second.error_pct(costs));
        let meeting = meeting.lock().expect("nobody panics with it");
        lengths.entry(key).or_default().push(meeting.parks.median());
    }
}

/// Where the two tasks wait for each other, and then for the alarm.
#[derive(Default)]
struct Meeting {
    waiting: Vec<Waker>,
    /// When the second of them came.
    since: Option<Instant>,
    parks: Samples,
}

/// Until the alarm after the round. The wakers it rings are registered once, and nobody else wakes these tasks.
async fn parked(meeting: &Mutex<Meeting>, round: u64, alarm: &Alarm, length: Duration) {
    let mut registered = false;
    poll_fn(|cx| {
        let mut meeting = meeting.lock().expect("nobody panics with it");
        if registered {
            if let Some(since) = meeting.since.take() {
                meeting.parks.push(since.elapsed().as_secs_f64() * 1e6);
            }
            return Poll::Ready(());
        }
        registered = true;
        meeting.waiting.push(cx.waker().clone());
        if meeting.waiting.len() == 2 {
            let mut wakers = std::mem::take(&mut meeting.waiting);
            if round % 2 == 1 {
                wakers.reverse();
            }
            meeting.since = Some(Instant::now());
            drop(meeting);
            alarm.wake(length, wakers);
        }
        Poll::Pending
    })
    .await;
}

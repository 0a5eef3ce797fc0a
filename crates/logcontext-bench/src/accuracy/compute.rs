//! Polls that only compute: 2 us, 20 us, 200 us and 5 ms, on two workers, with as many other threads in their
//! way as there are workers.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use logcontext::{FutureExt, LogContext};
use tokio::sync::Barrier;

use super::{Costs, Errors, charged, runtime, spawn, to_the_end_of_the_queue, under_contention};
use crate::Effort;

/// Keys, and units of work per poll.
const POLLS: [(&str, u32); 4] =
    [("poll_2us", 1), ("poll_20us", 10), ("poll_200us", 100), ("poll_5ms", 2_500)];
/// Units of work between two meetings: about 5 ms.
const LEG: u32 = 2_500;

/// All four do the same work at the same time. They meet after each leg: else the one with long polls, which
/// gets as many turns as the others, would be done when they have hardly begun, and the machine may be faster
/// then.
pub(super) fn run(costs: &Costs, effort: Effort, errors: &mut Errors) {
    let legs = effort.of(60);
    let contexts = POLLS.map(|(key, _)| LogContext::new(key));
    under_contention(2, || {
        let runtime = runtime(2);
        let meeting = Arc::new(Barrier::new(POLLS.len()));
        let tasks = [0, 1, 2, 3].map(|i| {
            let task = work(*costs, contexts[i].clone(), POLLS[i].1, legs, Arc::clone(&meeting));
            spawn(&runtime, task)
        });
        for task in tasks {
            runtime.block_on(task).expect("a task that only computes");
        }
    });

    let costs_of = |i: usize| {
        let polls = f64::from(LEG / POLLS[i].1) * legs as f64;
        charged(&contexts[i]) - polls * costs.half_switch
    };
    let shares = [0, 1, 2, 3].map(costs_of);
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    for (share, (key, _)) in shares.iter().zip(POLLS) {
        errors.entry(key).or_default().push((share / mean - 1.0) * 100.0);
    }
}

/// Only the work is in the context; the way back into the queue and the meetings are not.
async fn work(costs: Costs, context: LogContext, units: u32, legs: usize, meeting: Arc<Barrier>) {
    let mut poll = pin!(
        poll_fn(|_| {
            costs.burn(units);
            Poll::<()>::Pending
        })
        .in_context(context)
    );
    for _ in 0..legs {
        for _ in 0..LEG / units {
            poll_fn(|cx| {
                let _ = poll.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
            to_the_end_of_the_queue().await;
        }
        meeting.wait().await;
    }
}

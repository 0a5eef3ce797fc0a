//! Looping calls: every period, never two rounds at once, whatever happens to a round.
#![cfg(feature = "tokio")]
mod common;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{assert_at, here, line, on_both, paused, run};
use logcontext::background::{Every, First, every};
use logcontext::{FutureExt, LogContext, Lost, testing};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tracing::Level;

const MINUTE: Duration = Duration::from_secs(60);

/// When the rounds of such a loop begin, in seconds from its start, with rounds that take so long.
async fn rounds(looping: Every, round: Duration, watch_for: Duration) -> Vec<f64> {
    let (start, begun) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&begun);
    let handle = looping.run(move || {
        seen.lock().unwrap().push(start.elapsed().as_secs_f64());
        sleep(round)
    });
    sleep(watch_for).await;
    handle.abort();
    assert_eq!(handle.await, Err(Lost::Cancelled));
    let begun = begun.lock().unwrap();
    // The paused clock moves in milliseconds.
    begun.iter().map(|seconds: &f64| (seconds * 10.0).round() / 10.0).collect()
}

#[test]
fn a_round_every_period_the_first_after_one() {
    paused(|_| async {
        let begun = rounds(every("tick", MINUTE), Duration::ZERO, Duration::from_secs(200)).await;
        assert_eq!(begun, [60.0, 120.0, 180.0]);
    });
}

#[test]
fn the_first_round_comes_at_once_or_after_as_long_as_is_said() {
    paused(|_| async {
        let now = every("tick", MINUTE).first(First::Now);
        assert_eq!(rounds(now, Duration::ZERO, Duration::from_secs(100)).await, [0.0, 60.0]);
        let soon = every("tick", MINUTE).first(First::After(Duration::from_secs(5)));
        assert_eq!(rounds(soon, Duration::ZERO, Duration::from_secs(100)).await, [5.0, 65.0]);
    });
}

#[test]
fn rounds_never_overlap_the_next_one_waits_for_the_last() {
    paused(|_| async {
        let slow = every("tick", MINUTE).first(First::Now);
        let begun = rounds(slow, Duration::from_secs(90), Duration::from_secs(300)).await;
        assert_eq!(begun, [0.0, 90.0, 180.0, 270.0]);
    });
}

#[test]
fn jitter_delays_each_round_by_up_to_as_much_and_does_not_add_up() {
    paused(|_| async {
        let jittery = every("tick", MINUTE).jitter(Duration::from_secs(10));
        let begun = rounds(jittery, Duration::ZERO, 60 * MINUTE + Duration::from_secs(30)).await;
        assert_eq!(begun.len(), 60);
        let late: Vec<_> = (1..).zip(&begun).map(|(n, begun)| begun - f64::from(n) * 60.0).collect();
        assert!(late.iter().all(|late| (0.0..=10.1).contains(late)), "{late:?}");
        let spread =
            late.iter().fold((f64::MAX, 0.0_f64), |(min, max), late| (min.min(*late), max.max(*late)));
        // That sixty draws leave a half of the range empty happens once in 10^17 runs.
        assert!(spread.0 < 5.0 && spread.1 > 5.0, "{late:?}");
    });
}

#[test]
fn each_round_is_a_process_of_its_own_and_nobodys_part() {
    on_both(|runtime, test| {
        let (tell, mut told) = mpsc::unbounded_channel();
        let body = async move {
            let looping = every("tick", Duration::from_millis(1)).first(First::Now).run(move || {
                // The closure is the round's too.
                let made_in = here();
                let tell = tell.clone();
                async move { tell.send((made_in, here())) }
            });
            assert_eq!(here(), "GET-1");
            for n in 0..3 {
                let name = format!("tick-{n}");
                assert_eq!(told.recv().await.unwrap(), (name.clone(), name));
            }
            looping.abort();
            assert_eq!(looping.await, Err(Lost::Cancelled));
        };
        let request = LogContext::new("GET-1");
        run(runtime, body.in_context(request.clone()));
        let totals = test.supervisor().totals();
        let row = totals.iter().find(|row| row.label.as_deref() == Some("tick")).unwrap();
        assert!(row.started >= 3 && row.ok >= 2, "{row:?}");
    });
}

#[test]
fn a_round_that_fails_or_panics_is_reported_and_the_next_one_comes() {
    let test = testing::start();
    let rounds = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&rounds);
    let made_at = line(3);
    test.current_thread().block_on(async {
        tokio::time::pause();
        let looping = every("tick", MINUTE).run(move || {
            let round = counted.fetch_add(1, Relaxed);
            assert!(round != 2, "in the closure");
            async move {
                assert!(round != 1, "in the round");
                if round == 0 { Err("disk full") } else { Ok(()) }
            }
        });
        sleep(5 * MINUTE + Duration::from_secs(1)).await;
        looping.abort();
    });
    assert_eq!(rounds.load(Relaxed), 5);
    let totals = test.supervisor().totals();
    let row = totals.iter().find(|row| row.label.as_deref() == Some("tick")).unwrap();
    assert_eq!((row.started, row.ok, row.failed, row.panicked), (5, 2, 1, 2));
    let errors = test.records_at(Level::ERROR);
    let said: Vec<_> =
        errors.iter().map(|record| (record.context.name(), record.field("error").unwrap())).collect();
    assert_eq!(said, [("tick-0", "disk full"), ("tick-1", "in the round"), ("tick-2", "in the closure")]);
    errors.iter().for_each(|error| assert_at(error, "started_at", &made_at));
}

#[test]
fn the_loop_ends_at_the_shutdown_which_waits_for_the_running_round() {
    paused(|test| {
        let service = test.supervisor().clone();
        async move {
            let done = Arc::new(AtomicU32::new(0));
            let counted = Arc::clone(&done);
            let looping = every("tick", MINUTE).first(First::Now).run(move || {
                let counted = Arc::clone(&counted);
                async move {
                    sleep(Duration::from_secs(30)).await;
                    counted.fetch_add(1, Relaxed);
                }
            });
            let none = Arc::clone(&done);
            let waiting = every("tock", MINUTE).run(move || std::future::ready(none.fetch_add(100, Relaxed)));
            sleep(Duration::from_secs(10)).await;
            let started = Instant::now();
            let shutdown = service.shutdown(Duration::from_secs(300)).await;
            assert!(shutdown.aborted.is_empty());
            assert_eq!(done.load(Relaxed), 1);
            assert_eq!(started.elapsed().as_secs(), 20, "as long as the round took");
            assert_eq!((looping.await, waiting.await), (Ok(()), Ok(())));
            let refused = every("tick", MINUTE).run(|| async {});
            assert_eq!(refused.await, Err(Lost::ShuttingDown));
        }
    });
}

#[test]
fn a_loop_is_listed_between_its_rounds_with_its_name_and_line() {
    paused(|test| {
        let service = test.supervisor().clone();
        async move {
            let (looping, line) = (every("tick", MINUTE), line!());
            let looping = looping.run(|| async {});
            sleep(Duration::from_secs(90)).await;
            let running = service.running();
            assert_eq!(running.len(), 1);
            assert_eq!((running[0].name.as_ref(), running[0].origin.line()), ("tick", line));
            assert!(running[0].context.is_sentinel(), "waiting for the clock is nobody's work");
            looping.abort();
        }
    });
}

#[test]
fn a_loop_started_from_a_request_is_charged_to_its_own_rounds_only() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let body = async {
            let (tell, mut told) = mpsc::unbounded_channel();
            let looping = every("tick", Duration::from_millis(1)).first(First::Now).run(move || {
                common::burn(common::BURST);
                let tell = tell.clone();
                async move { tell.send(()) }
            });
            told.recv().await.unwrap();
            looping.abort();
        };
        run(runtime, body.in_context(request.clone()));
        common::assert_bursts(&request, 0);
    });
}

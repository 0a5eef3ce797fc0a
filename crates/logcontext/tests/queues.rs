//! Background queues: bounded, worked off one by one, by a process that comes and goes.
#![cfg(feature = "tokio")]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{assert_at, here, line, on_both, panic_message, run};
use logcontext::background::{Queue, Refused, queue};
use logcontext::testing::Test;
use logcontext::{FutureExt, LogContext};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::yield_now;
use tracing::Level;

/// A queue that takes an item up when it is let, and then says where it handled which.
fn gated(capacity: usize) -> (Queue<u32>, Arc<Semaphore>, mpsc::UnboundedReceiver<(String, u32)>) {
    let gate = Arc::new(Semaphore::new(0));
    let (tell, told) = mpsc::unbounded_channel();
    let permits = Arc::clone(&gate);
    let queue = queue("mail", capacity).handle(move |item| {
        let (permits, tell) = (Arc::clone(&permits), tell.clone());
        async move {
            permits.acquire().await.unwrap().forget();
            tell.send((here(), item)).map_err(|_| "nobody listens")
        }
    });
    (queue, gate, told)
}

#[test]
fn items_are_worked_off_one_by_one_in_order_in_the_processs_context() {
    on_both(|runtime, _| {
        let body = async {
            let (queue, gate, mut told) = gated(10);
            for item in 0..5 {
                queue.push(item).await.unwrap();
            }
            assert_eq!(here(), "GET-1");
            gate.add_permits(5);
            for item in 0..5 {
                assert_eq!(told.recv().await.unwrap(), ("mail-0".to_owned(), item));
            }
            assert!(queue.is_empty());
        };
        run(runtime, body.in_context(LogContext::new("GET-1")));
    });
}

#[test]
fn a_full_queue_gives_the_item_back_or_lets_who_pushes_wait() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (queue, gate, mut told) = gated(2);
            queue.try_push(0).unwrap();
            // The first one is being handled; two wait.
            while !queue.is_empty() {
                yield_now().await;
            }
            queue.try_push(1).unwrap();
            queue.try_push(2).unwrap();
            assert_eq!(queue.len(), 2);
            let refused = queue.try_push(3).unwrap_err();
            assert_eq!(refused.to_string(), "the queue is full");
            assert!(refused == Refused::Full(3) && refused.into_item() == 3);

            let mut push = Box::pin(queue.push(4));
            assert!(futures_util::poll!(push.as_mut()).is_pending());
            assert_eq!(queue.len(), 2, "bounded");
            gate.add_permits(1);
            push.await.unwrap();
            gate.add_permits(3);
            for item in [0, 1, 2, 4] {
                assert_eq!(told.recv().await.unwrap().1, item);
            }
        });
    });
}

#[test]
fn a_push_that_was_given_up_takes_no_room() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (queue, gate, mut told) = gated(1);
            queue.push(0).await.unwrap();
            queue.push(1).await.unwrap();
            let mut given_up = Box::pin(queue.push(2));
            assert!(futures_util::poll!(given_up.as_mut()).is_pending());
            drop(given_up);
            gate.add_permits(3);
            queue.push(3).await.unwrap();
            for item in [0, 1, 3] {
                assert_eq!(told.recv().await.unwrap().1, item);
            }
        });
    });
}

#[test]
fn the_process_ends_when_the_queue_is_idle_and_starts_again_with_the_next_item() {
    fn runs(test: &Test) -> (u64, u64) {
        let totals = test.supervisor().totals();
        let row = totals.iter().find(|row| row.label.as_deref() == Some("mail")).unwrap();
        (row.started, row.in_flight)
    }
    let test = logcontext::testing::start();
    test.current_thread().block_on(async {
        tokio::time::pause();
        let (queue, gate, mut told) = gated(10);
        gate.add_permits(10);
        queue.push(1).await.unwrap();
        assert_eq!(told.recv().await.unwrap().0, "mail-0");
        tokio::time::sleep(Duration::from_millis(900)).await;
        assert_eq!(runs(&test), (1, 1), "it waits for more");
        queue.push(2).await.unwrap();
        assert_eq!(told.recv().await.unwrap().0, "mail-0");
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(runs(&test), (1, 0));
        assert!(test.supervisor().running().is_empty());
        queue.push(3).await.unwrap();
        assert_eq!(told.recv().await.unwrap().0, "mail-1");
        assert_eq!(runs(&test), (2, 1));
    });
}

#[test]
fn no_item_is_lost_however_often_the_process_ends_in_between() {
    on_both(|runtime, _| {
        run(runtime, async {
            let (tell, mut told) = mpsc::unbounded_channel();
            let queue = queue("mail", 3).idle(Duration::ZERO).handle(move |item: u32| {
                let tell = tell.clone();
                async move { tell.send(item) }
            });
            for item in 0..2_000 {
                queue.push(item).await.unwrap();
                if item % 7 == 0 {
                    yield_now().await;
                }
            }
            for item in 0..2_000 {
                assert_eq!(told.recv().await, Some(item));
            }
        });
    });
}

#[test]
fn an_item_that_fails_or_panics_is_reported_and_the_next_one_comes() {
    on_both(|runtime, test| {
        let body = async {
            let queue =
                queue("mail", 10).handle(|item: Result<Option<oneshot::Sender<String>>, String>| async {
                    item?.expect("an answer").send(here())
                });
            let made_at = line(-3);
            queue.push(Err("no such user".to_owned())).await.unwrap();
            queue.push(Ok(None)).await.unwrap();
            let (answer, answered) = oneshot::channel();
            queue.push(Ok(Some(answer))).await.unwrap();
            assert_eq!(answered.await.unwrap(), "mail-0", "the same process");
            made_at
        };
        let made_at = run(runtime, body.in_context(LogContext::new("GET-1")));
        let errors = test.records_at(Level::ERROR);
        let said: Vec<_> =
            errors.iter().map(|record| (record.message.as_str(), record.field("error").unwrap())).collect();
        assert_eq!(
            said,
            [("background work failed", "no such user"), ("background work panicked", "an answer")]
        );
        for error in &errors {
            assert_eq!((error.context.name(), error.field("name")), ("mail-0", Some("mail")));
            assert_eq!(error.field("started_by"), Some("GET-1"));
            assert!(error.field("duration").is_some());
            assert_at(error, "started_at", &made_at);
        }
        assert_eq!(test.records_at(Level::WARN).len(), 0);
    });
}

#[test]
fn a_shutdown_waits_for_what_is_queued_and_refuses_what_comes_later_with_the_item() {
    on_both(|runtime, test| {
        let service = test.supervisor().clone();
        run(runtime, async move {
            let (queue, gate, mut told) = gated(3);
            for item in 0..3 {
                queue.push(item).await.unwrap();
            }
            let mut waiting = Vec::new();
            for item in 10..15 {
                let queue = queue.clone();
                waiting.push(Box::pin(async move { queue.push(item).await }));
            }
            // As many as there is room for are in by now, the rest waits.
            let mut refused_or_in = futures_util::future::join_all(waiting);
            let _ = futures_util::poll!(&mut refused_or_in);
            let mut shutdown = Box::pin(service.shutdown(Duration::from_secs(60)));
            assert!(futures_util::poll!(shutdown.as_mut()).is_pending());
            let late = queue.push(7).await.unwrap_err();
            assert!(late == Refused::ShuttingDown(7), "{late}");
            let accepted = 3 + refused_or_in.await.into_iter().filter(Result::is_ok).count();
            gate.add_permits(accepted);
            assert!(shutdown.await.aborted.is_empty());
            let mut handled = 0;
            while told.try_recv().is_ok() {
                handled += 1;
            }
            assert_eq!(handled, accepted);
            let late = queue.try_push(8).unwrap_err();
            assert!(late == Refused::ShuttingDown(8), "{late}");
            assert!(queue.is_empty());
        });
    });
}

#[test]
fn a_push_outside_a_runtime_panics_and_leaves_the_queue_in_working_order() {
    on_both(|runtime, _| {
        let (queue, gate, mut told) = gated(1);
        panic_message(|| {
            let _ = queue.try_push(1);
        });
        gate.add_permits(5);
        run(runtime, async move {
            queue.push(2).await.unwrap();
            loop {
                if told.recv().await.unwrap().1 == 2 {
                    break;
                }
            }
        });
    });
}

#[test]
fn a_queue_needs_room() {
    let _test = logcontext::testing::start();
    assert!(panic_message(|| drop(queue("mail", 0))).contains("room"));
}

#[test]
fn a_queue_outlives_the_runtime_that_its_process_ran_on() {
    on_both(|runtime, test| {
        let (queue, gate, mut told) = gated(10);
        let first = test.current_thread();
        first.block_on(async {
            queue.push(0).await.unwrap();
            queue.push(1).await.unwrap();
        });
        drop(first);
        gate.add_permits(3);
        run(runtime, async move {
            queue.push(2).await.unwrap();
            let (process, item) = told.recv().await.unwrap();
            // Whether the first was taken up and cancelled with its runtime is that one's affair.
            assert_eq!(process, "mail-1");
            let next = if item == 0 { told.recv().await.unwrap().1 } else { item };
            assert_eq!((next, told.recv().await.unwrap().1), (1, 2));
        });
    });
}

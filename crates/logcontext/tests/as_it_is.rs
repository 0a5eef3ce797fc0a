//! What works as it is, of tokio and the futures crate: everybody who waits comes back in the context it came with, and
//! whoever is woken, or is told something, is not in the context of who did it.
//!
//! | | |
//! | --- | --- |
//! | `join!`, `join_all`, `select!`, `FuturesUnordered`, `buffered`, `buffer_unordered`, `JoinSet` | `gathering.rs` |
//! | `timeout`, the branch of a `select!` that lost, a `JoinSet` that is shut down or dropped, `abort` | `cancellation.rs` |
//! | channels that lose an end | `orphans.rs` |
//! | `try_join!`, channels, `Notify`, `Semaphore`, `Mutex`, `RwLock`, `Barrier`, `OnceCell` | here |
#![cfg(feature = "tokio")]
mod common;

use std::sync::Arc;

use common::{BURST, Seen, assert_bursts, burn, here, on_both, run};
use logcontext::testing::Test;
use logcontext::{Background, FutureExt, LogContext, current_context};
use tokio::runtime::Runtime;
use tokio::sync::{Barrier, Mutex, Notify, OnceCell, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::yield_now;

/// Two requests at once: `GET-1` runs the first, `GET-2` the second. Both are where they were when it is over, and have
/// paid for what they burned.
fn between<A, B>(runtime: &Runtime, test: &Test, first: A, second: B, bursts: (u64, u64))
where
    A: Future<Output = ()> + Send + 'static,
    B: Future<Output = ()> + Send + 'static,
{
    let [one, two] = ["GET-1", "GET-2"].map(|name| test.supervisor().context(name).start());
    let at_home = |context: &LogContext, body: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
        let home = context.clone();
        context.run_in_background(async move {
            body.await;
            assert_eq!(current_context(), home);
        })
    };
    runtime.block_on(async {
        let tasks: [Background<()>; 2] = [at_home(&one, Box::pin(first)), at_home(&two, Box::pin(second))];
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_bursts(&one, bursts.0);
    assert_bursts(&two, bursts.1);
    assert!(current_context().is_sentinel());
}

#[test]
fn try_join() {
    on_both(|runtime, _| {
        let request = LogContext::new("GET-1");
        let seen = Seen::default();
        let (dropped, part) = (seen.on_drop(), request.nested("cancelled"));
        let body = async move {
            let fine = tokio::try_join!(
                async { Ok::<_, &str>(here()) },
                async { Ok(here()) }.in_context(current_context().nested("b")),
            );
            assert_eq!(fine, Ok(("GET-1".to_owned(), "GET-1-b".to_owned())));
            let cancelled = async move {
                let _dropped = dropped;
                std::future::pending::<Result<(), _>>().await
            };
            let fails = async {
                yield_now().await;
                Err::<(), _>(here())
            };
            let failed = tokio::try_join!(cancelled.in_context(part), fails);
            assert_eq!(failed, Err("GET-1".to_owned()));
            assert_eq!(here(), "GET-1");
        };
        run(runtime, body.in_context(request.clone()));
        assert_eq!(seen.all(), ["GET-1-cancelled"]);
    });
}

#[test]
fn channels() {
    on_both(|runtime, test| {
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<String>>(1);
        let server = async move {
            while let Some(answer) = asked.recv().await {
                assert_eq!(here(), "GET-2");
                burn(BURST);
                answer.send(here()).unwrap();
                assert_eq!(here(), "GET-2");
            }
        };
        let client = async move {
            for _ in 0..3 {
                let (answer, answered) = oneshot::channel();
                ask.send(answer).await.unwrap();
                assert_eq!(answered.await.unwrap(), "GET-2");
                assert_eq!(here(), "GET-1");
            }
        };
        between(runtime, test, client, server, (0, 3));

        let (say, mut said) = broadcast::channel(4);
        let (show, mut shown) = watch::channel(0);
        let listener = async move {
            for n in 1..4 {
                assert_eq!(said.recv().await, Ok(n));
                assert_eq!(here(), "GET-1");
            }
            shown.wait_for(|n| *n == 3).await.unwrap();
            assert_eq!(here(), "GET-1");
        };
        let speaker = async move {
            for n in 1..4 {
                say.send(n).unwrap();
                show.send_replace(n);
                assert_eq!(here(), "GET-2");
                yield_now().await;
            }
        };
        between(runtime, test, listener, speaker, (0, 0));
    });
}

#[test]
fn notify() {
    on_both(|runtime, test| {
        let bells = Arc::new([Notify::new(), Notify::new()]);
        let side = |mine: usize, other: usize| {
            let (bells, home) = (Arc::clone(&bells), ["GET-1", "GET-2"][mine]);
            async move {
                for _ in 0..3 {
                    bells[other].notify_one();
                    assert_eq!(here(), home);
                    bells[mine].notified().await;
                    assert_eq!(here(), home);
                    burn(BURST);
                }
            }
        };
        between(runtime, test, side(0, 1), side(1, 0), (3, 3));
    });
}

#[test]
fn semaphores_locks_and_barriers() {
    on_both(|runtime, test| {
        let things = Arc::new((Semaphore::new(1), Mutex::new(0), RwLock::new(0), Barrier::new(2)));
        let side = |home: &'static str| {
            let things = Arc::clone(&things);
            async move {
                let (semaphore, mutex, lock, barrier) = &*things;
                barrier.wait().await;
                assert_eq!(here(), home);
                for _ in 0..3 {
                    let permit = semaphore.acquire().await.unwrap();
                    assert_eq!(here(), home);
                    yield_now().await;
                    drop(permit);
                    assert_eq!(here(), home);
                    let mut held = mutex.lock().await;
                    assert_eq!(here(), home);
                    *held += 1;
                    yield_now().await;
                    drop(held);
                    let mut held = lock.write().await;
                    assert_eq!(here(), home);
                    *held += 1;
                    yield_now().await;
                    drop(held);
                    assert!(*lock.read().await > 0);
                    assert_eq!(here(), home);
                }
                burn(BURST);
            }
        };
        between(runtime, test, side("GET-1"), side("GET-2"), (1, 1));
        assert_eq!(*things.1.try_lock().unwrap(), 6);
    });
}

#[test]
fn a_once_cell_is_filled_in_the_context_and_at_the_cost_of_who_came_first() {
    on_both(|runtime, test| {
        let cell = Arc::new(OnceCell::new());
        let (begun, others) = (Arc::new(Notify::new()), Arc::clone(&cell));
        let (tell, told) = (Arc::clone(&begun), Arc::clone(&begun));
        let first = async move {
            let fill = || async {
                tell.notify_one();
                yield_now().await;
                burn(BURST);
                here()
            };
            assert_eq!(cell.get_or_init(fill).await, "GET-1");
        };
        let second = async move {
            told.notified().await;
            assert_eq!(others.get_or_init(|| async { here() }).await, "GET-1");
            assert_eq!(here(), "GET-2");
        };
        between(runtime, test, first, second, (1, 0));
    });
}

#[test]
fn a_once_cell_whose_first_caller_is_cancelled_is_filled_by_the_next_in_its_own_context() {
    on_both(|runtime, test| {
        let cell = Arc::new(OnceCell::new());
        let (begun, others) = (Arc::new(Notify::new()), Arc::clone(&cell));
        let (tell, told) = (Arc::clone(&begun), Arc::clone(&begun));
        let first = async move {
            let fill = async || {
                tell.notify_one();
                for _ in 0..3 {
                    yield_now().await;
                }
                here()
            };
            let leave = async {
                yield_now().await;
                yield_now().await;
            };
            tokio::select! {
                biased;
                _ = cell.get_or_init(fill) => panic!("it is cancelled before"),
                () = leave => assert_eq!(here(), "GET-1"),
            }
        };
        let second = async move {
            told.notified().await;
            let fill = async || {
                burn(BURST);
                here()
            };
            assert_eq!(others.get_or_init(fill).await, "GET-2");
            assert_eq!(here(), "GET-2");
        };
        between(runtime, test, first, second, (0, 1));
    });
}

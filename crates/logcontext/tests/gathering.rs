//! Gathering several operations: each stays in its context, the gatherer in its own.
#![cfg(feature = "tokio")]
#![expect(clippy::disallowed_methods, reason = "what other libraries spawn is given its context here")]
mod common;

use common::{BURST, assert_bursts, burn, here, on_both, run};
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use logcontext::{FutureExt, LogContext, current_context, run_in_background};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};

/// An operation that waits and burns; answers where it was, each time it went on.
async fn operation() -> Vec<String> {
    let mut seen = vec![here()];
    burn(BURST / 2);
    yield_now().await;
    seen.push(here());
    burn(BURST / 2);
    yield_now().await;
    seen.push(here());
    seen
}

/// Runs `gather` in a context, with nested ones for three operations; each was in its own all the time, and
/// everyone has paid for what it burned.
fn gathers<F, Fut>(runtime: &Runtime, gather: F)
where
    F: FnOnce(Vec<LogContext>) -> Fut + Send + 'static,
    Fut: Future<Output = Vec<Vec<String>>> + Send + 'static,
{
    let request = LogContext::new("GET-1");
    let parts: Vec<_> = ["a", "b", "c"].iter().map(|name| request.nested(name)).collect();
    let given = parts.clone();
    let body = async move {
        let mut seen = gather(given).await;
        assert_eq!(here(), "GET-1");
        burn(BURST);
        seen.sort();
        seen
    };
    let seen = run(runtime, body.in_context(request.clone()));
    assert_eq!(seen, [["GET-1-a"; 3], ["GET-1-b"; 3], ["GET-1-c"; 3]]);
    for part in &parts {
        assert_bursts(part, 1);
    }
    assert_bursts(&request, 4);
    assert!(current_context().is_sentinel());
}

#[test]
fn join() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async move {
            let [a, b, c] = [0, 1, 2].map(|i| operation().in_context(parts[i].clone()));
            let (a, b, c) = tokio::join!(a, b, c);
            vec![a, b, c]
        });
    });
}

#[test]
fn join_all() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async {
            futures_util::future::join_all(parts.into_iter().map(|part| operation().in_context(part))).await
        });
    });
}

#[test]
fn select() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async move {
            let mut seen = Vec::new();
            let mut left: Vec<_> =
                parts.into_iter().map(|part| Box::pin(operation().in_context(part))).collect();
            while !left.is_empty() {
                let (done, _, others) = futures_util::future::select_all(left).await;
                assert_eq!(here(), "GET-1");
                seen.push(done);
                left = others;
            }
            seen
        });
    });
}

#[test]
fn select_with_branches_that_go_on() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async move {
            let [a, b, c] = [0, 1, 2].map(|i| Box::pin(operation().in_context(parts[i].clone())));
            let (mut a, mut b, mut c) = (Some(a), Some(b), Some(c));
            let mut seen = Vec::new();
            while seen.len() < 3 {
                tokio::select! {
                    done = async { a.as_mut().unwrap().await }, if a.is_some() => { seen.push(done); a = None; }
                    done = async { b.as_mut().unwrap().await }, if b.is_some() => { seen.push(done); b = None; }
                    done = async { c.as_mut().unwrap().await }, if c.is_some() => { seen.push(done); c = None; }
                }
                assert_eq!(here(), "GET-1");
            }
            seen
        });
    });
}

#[test]
fn futures_unordered() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async {
            let mut all: FuturesUnordered<_> =
                parts.into_iter().map(|part| operation().in_context(part)).collect();
            let mut seen = Vec::new();
            while let Some(done) = all.next().await {
                assert_eq!(here(), "GET-1");
                seen.push(done);
            }
            seen
        });
    });
}

#[test]
fn buffered_streams() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async {
            stream::iter(parts).map(|part| operation().in_context(part)).buffered(2).collect().await
        });
        gathers(runtime, |parts| async {
            let operations = stream::iter(parts).map(|part| operation().in_context(part));
            operations.buffer_unordered(3).inspect(|_| assert_eq!(here(), "GET-1")).collect().await
        });
    });
}

#[test]
fn a_join_set() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async {
            let mut tasks = JoinSet::new();
            for part in parts {
                tasks.spawn(operation().in_context(part));
            }
            let mut seen = Vec::new();
            while let Some(done) = tasks.join_next().await {
                assert_eq!(here(), "GET-1");
                seen.push(done.unwrap());
            }
            seen
        });
    });
}

#[test]
fn background_work() {
    on_both(|runtime, _| {
        gathers(runtime, |parts| async move {
            let tasks: Vec<_> =
                parts.iter().map(|part| part.scope(|| run_in_background(operation()))).collect();
            let mut seen = Vec::new();
            for task in tasks {
                seen.push(task.await.unwrap());
                assert_eq!(here(), "GET-1");
            }
            seen
        });
    });
}

#[test]
fn one_that_panics_leaves_the_gatherer_and_the_others_where_they_are() {
    on_both(|runtime, _| {
        let (request, part) = (LogContext::new("GET-1"), LogContext::new("part"));
        let body = async move {
            let (others_go_on, others) = oneshot::channel::<()>();
            let other = async move {
                others.await.unwrap();
                here()
            };
            let fails = async {
                yield_now().await;
                panic!("oh no");
            };
            let fails = std::panic::AssertUnwindSafe(fails.in_context(part.clone()));
            let guarded = futures_util::FutureExt::catch_unwind(fails);
            let (other, ()) = tokio::join!(other.in_context(part.nested("other")), async {
                assert!(guarded.await.is_err());
                assert_eq!(here(), "GET-1");
                others_go_on.send(()).unwrap();
            });
            assert_eq!((other.as_str(), here().as_str()), ("part-other", "GET-1"));
        };
        run(runtime, body.in_context(request));
    });
}

//! Cancellation: the canceller's context stays as it was, the cancelled work drops in its own and pays for it.
#![cfg(feature = "tokio")]
#![expect(clippy::disallowed_methods, reason = "what other libraries spawn is given its context here")]
mod common;

use std::future::pending;
use std::time::Duration;

use common::{BURST, OnDrop, Seen, assert_bursts, burn, here, on_both, paused, run};
use logcontext::testing::Test;
use logcontext::{
    Ending, FutureExt, InContext, LogContext, Lost, background, current_context, run_in_background,
    spawn_blocking,
};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};

/// Work that is never done: it says when it has begun, and notes where it is dropped.
struct Endless {
    context: LogContext,
    begun: oneshot::Receiver<()>,
    dropped: Seen,
}

impl Endless {
    fn new() -> (Self, InContext<impl Future<Output = ()> + Send + 'static>) {
        let (context, dropped) = (LogContext::new("cancelled"), Seen::default());
        let (begin, begun) = oneshot::channel();
        let on_drop = dropped.on_drop();
        let work = async move {
            let _on_drop = on_drop;
            let _ = begin.send(());
            pending::<()>().await;
        };
        let future = work.in_context(context.clone());
        (Self { context, begun, dropped }, future)
    }

    /// It was dropped, in its own context, which paid for that and for nothing else.
    #[track_caller]
    fn assert_dropped_at_home(&self) {
        assert_eq!(self.dropped.all(), ["cancelled"]);
        assert_bursts(&self.context, 1);
    }
}

/// Runs the canceller in a context of its own; afterwards it is in it still, and has paid nothing.
fn in_canceller<F, Fut>(runtime: &Runtime, canceller: F)
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let context = LogContext::new("canceller");
    let body = async move {
        canceller().await;
        assert_eq!(here(), "canceller");
        yield_now().await;
        assert_eq!(here(), "canceller");
    };
    run(runtime, body.in_context(context.clone()));
    assert_bursts(&context, 0);
}

#[test]
fn a_dropped_future() {
    on_both(|runtime, _| {
        in_canceller(runtime, || async {
            let (work, future) = Endless::new();
            let mut future = Box::pin(future);
            let _ = futures_util::poll!(future.as_mut());
            drop(future);
            assert_eq!(here(), "canceller");
            work.assert_dropped_at_home();
        });
    });
}

#[test]
fn an_aborted_task() {
    on_both(|runtime, _| {
        in_canceller(runtime, || async {
            let (mut work, future) = Endless::new();
            let task = tokio::spawn(future);
            (&mut work.begun).await.unwrap();
            task.abort();
            assert_eq!(here(), "canceller");
            assert!(task.await.unwrap_err().is_cancelled());
            work.assert_dropped_at_home();
        });
    });
}

#[test]
fn a_task_aborted_before_its_first_poll() {
    on_both(|runtime, _| {
        in_canceller(runtime, || async {
            let (work, future) = Endless::new();
            let task = tokio::spawn(future);
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
            work.assert_dropped_at_home();
        });
    });
}

#[test]
fn a_timeout() {
    let timed_out = || async {
        let (work, future) = Endless::new();
        assert!(tokio::time::timeout(Duration::from_millis(1), future).await.is_err());
        assert_eq!(here(), "canceller");
        work.assert_dropped_at_home();
    };
    on_both(|runtime, _| in_canceller(runtime, timed_out));
    paused(|_| timed_out().in_context(LogContext::new("canceller")));
}

#[test]
fn the_branch_of_a_select_that_lost() {
    on_both(|runtime, _| {
        in_canceller(runtime, || async {
            let (mut work, future) = Endless::new();
            tokio::select! {
                () = future => unreachable!(),
                begun = &mut work.begun => begun.unwrap(),
            }
            assert_eq!(here(), "canceller");
            work.assert_dropped_at_home();
        });
    });
}

#[test]
fn a_join_set_that_is_shut_down_or_dropped() {
    on_both(|runtime, _| {
        for shutdown in [true, false] {
            in_canceller(runtime, move || async move {
                let (mut work, future) = Endless::new();
                let (gone, wait) = oneshot::channel::<()>();
                let mut tasks = JoinSet::new();
                tasks.spawn(async move {
                    let _gone = gone;
                    future.await;
                });
                (&mut work.begun).await.unwrap();
                if shutdown {
                    tasks.shutdown().await;
                } else {
                    drop(tasks);
                    assert_eq!(here(), "canceller");
                    assert!(wait.await.is_err());
                }
                assert_eq!(here(), "canceller");
                work.assert_dropped_at_home();
            });
        }
    });
}

#[test]
fn a_runtime_that_ends() {
    let build: [fn(&Test) -> Runtime; 2] = [Test::current_thread, |test| test.multi_thread(2)];
    for build in build {
        let test = logcontext::testing::start();
        let runtime = build(&test);
        let (mut work, future) = Endless::new();
        runtime.spawn(future);
        runtime.block_on(&mut work.begun).unwrap();
        LogContext::new("main").scope(|| {
            drop(runtime);
            assert_eq!(here(), "main");
        });
        work.assert_dropped_at_home();
    }
}

#[test]
fn what_is_cancelled_inside_each_other_drops_each_in_its_own_context() {
    on_both(|runtime, _| {
        in_canceller(runtime, || async {
            let (dropped, outer) = (Seen::default(), LogContext::new("outer"));
            let inner = outer.nested("inner");
            let (outer_drop, inner_drop) = (dropped.on_drop(), dropped.on_drop());
            let inner_work = async move {
                let _held = inner_drop;
                pending::<()>().await;
            };
            let inner_work = inner_work.in_context(inner.clone());
            let work = async move {
                let _held = outer_drop;
                inner_work.await;
            };
            let mut work = Box::pin(work.in_context(outer.clone()));
            let _ = futures_util::poll!(work.as_mut());
            drop(work);
            assert_eq!(dropped.all(), ["outer-inner", "outer"]);
            assert_bursts(&inner, 1);
            assert_bursts(&outer, 2);
        });
    });
}

#[test]
fn background_work_that_is_aborted_drops_in_its_own_context_and_says_that_it_was_cancelled() {
    on_both(|runtime, test| {
        in_canceller(runtime, || async {
            let (begin, begun) = oneshot::channel();
            let dropped = Seen::default();
            let on_drop = dropped.on_drop();
            let process = background::run("endless", async move {
                let _on_drop = on_drop;
                begin.send(()).unwrap();
                pending::<()>().await;
            });
            begun.await.unwrap();
            process.abort();
            let context = process.context().clone();
            assert_eq!(process.await, Err(Lost::Cancelled));
            assert_eq!(dropped.all(), ["endless-0"]);
            assert_bursts(&context, 1);
            assert_eq!(context.ending(), Some(Ending::Cancelled));
        });
        assert_eq!(test.records_at(tracing::Level::ERROR).len(), 0);
    });
}

#[test]
fn a_panic_in_the_drop_of_aborted_work_is_logged_once_and_spreads_no_further() {
    on_both(|runtime, test| {
        in_canceller(runtime, || async {
            let (begin, begun) = oneshot::channel();
            let bomb = OnDrop::new(|| panic!("in drop"));
            let work = run_in_background(async move {
                let _bomb = bomb;
                begin.send(()).unwrap();
                pending::<()>().await;
            });
            begun.await.unwrap();
            work.abort();
            assert_eq!(work.await, Err(Lost::Panicked("in drop".to_owned())));
        });
        let errors = test.records_at(tracing::Level::ERROR);
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].context.name(), "canceller");
    });
}

#[test]
fn blocking_work_that_never_ran_drops_in_its_context() {
    let test = logcontext::testing::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .on_thread_start(test.thread_start())
        .build()
        .unwrap();
    let (request, dropped) = (LogContext::new("GET-1"), Seen::default());
    let (release, released) = std::sync::mpsc::channel::<()>();
    let on_drop = dropped.on_drop();
    runtime.block_on(
        async {
            let occupied = spawn_blocking(move || released.recv().is_err());
            let queued = spawn_blocking(move || drop(on_drop));
            queued.abort();
            drop(release);
            assert_eq!(occupied.await, Ok(true));
            assert_eq!(queued.await, Err(Lost::Cancelled));
            assert_eq!(here(), "GET-1");
        }
        .in_context(request.clone()),
    );
    assert_eq!(dropped.all(), ["GET-1"]);
    assert_bursts(&request, 1);
}

#[test]
fn the_canceller_pays_for_its_own_work_only() {
    on_both(|runtime, _| {
        let (canceller, (mut work, future)) = (LogContext::new("canceller"), Endless::new());
        let body = async move {
            let task = tokio::spawn(future);
            (&mut work.begun).await.unwrap();
            burn(BURST);
            task.abort();
            assert!(task.await.is_err());
            work.assert_dropped_at_home();
        };
        run(runtime, body.in_context(canceller.clone()));
        assert_bursts(&canceller, 1);
        assert!(current_context().is_sentinel());
    });
}

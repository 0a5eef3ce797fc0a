//! One handle, used from anywhere.

mod calling;

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use calling::{Change, Sum, on_both_runtimes};
use logcontext::{FutureExt, LogContext, block_in_place, preserve_fn, spawn_blocking};
use logcontext_bus::{Bus, CallError, Waiting};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor that knows no runtime.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        std::thread::park();
    }
}

async fn serve(bus: &Bus) -> logcontext_bus::Served {
    let handler = |Sum(n): Sum| async move {
        if n % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(u64::from(n))
    };
    bus.serve::<Sum>(handler).start().await.unwrap()
}

/// Runs this on plain threads, while the bus's runtime goes on.
async fn on_threads(count: u32, f: impl Fn(u32) + Send + Sync + 'static) {
    let f = Arc::new(f);
    let threads: Vec<_> = (0..count)
        .map(|n| {
            let f = f.clone();
            #[expect(clippy::disallowed_methods, reason = "the context goes along")]
            std::thread::spawn(preserve_fn(move || f(n)))
        })
        .collect();
    while !threads.iter().all(|thread| thread.is_finished()) {
        tokio::task::yield_now().await;
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn plain_threads_may_call_and_block() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = serve(&bus).await;
        let calls = bus.clone();
        on_threads(8, move |n| {
            for k in 0..20 {
                assert_eq!(calls.call(Sum(n * k)).blocking(), Ok(u64::from(n * k)));
            }
        })
        .await;
        served.stop().await;
    });
}

#[test]
fn an_executor_without_a_runtime_may_call_and_its_calls_have_deadlines() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = serve(&bus).await;
        let (silent, _tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        let calls = bus.clone();
        on_threads(4, move |n| {
            assert!(tokio::runtime::Handle::try_current().is_err());
            for k in 0..20 {
                assert_eq!(block_on(calls.call(Sum(n * k)).into_future()), Ok(u64::from(n * k)));
            }
            let after = Duration::from_millis(20);
            let result = block_on(silent.call(Sum(n)).deadline(after).into_future());
            assert_eq!(result, Err(CallError::Timeout { after, waiting: Waiting::Answer }));
        })
        .await;
        served.stop().await;
    });
}

#[test]
fn other_runtimes_may_call_and_serve() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = serve(&bus).await;
        let calls = bus.clone();
        let thread_start = rig.kit.thread_start();
        on_threads(2, move |n| {
            // One knows no timers.
            let runtime = if n == 0 {
                tokio::runtime::Builder::new_current_thread().build().unwrap()
            } else {
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(2).enable_all().on_thread_start(thread_start.clone()).build().unwrap()
            };
            let calls = calls.clone();
            let context = LogContext::new(format!("GET-{}", 18 + n));
            let work = async move {
                for k in 0..20 {
                    assert_eq!(calls.call(Sum(k)).await, Ok(u64::from(k)));
                }
                if n == 0 {
                    // What is served from here is served by the bus's own runtime.
                    let other = calls.serve::<calling::Other>(|_| async {
                        Ok(tokio::runtime::Handle::current().metrics().num_workers() as u64)
                    });
                    let other = other.start().await.unwrap();
                    assert!(calls.call(calling::Other(1)).await.is_ok());
                    other.stop().await;
                }
            };
            runtime.block_on(work.in_context(context.clone()));
            context.finish();
        })
        .await;
        served.stop().await;
    });
}

#[test]
fn who_may_block_may_wait_for_a_call() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = serve(&bus).await;
        let calls = bus.clone();
        let answer =
            spawn_blocking(move || calls.call(Sum(17)).blocking().map_err(|error| error.to_string()));
        assert_eq!(answer.await.unwrap(), Ok(17));
        if rig.handle.metrics().num_workers() > 1 {
            let calls = bus.clone();
            let answer = logcontext::run_in_background(async move {
                block_in_place(|| calls.call(Sum(18)).blocking()).map_err(|error| error.to_string())
            });
            assert_eq!(answer.await.unwrap(), Ok(18));
        }
        served.stop().await;
    });
}

#[test]
fn blocking_in_async_code_panics_rather_than_hang() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let call = std::panic::AssertUnwindSafe(|| bus.call(Sum(1)).blocking());
        assert!(std::panic::catch_unwind(call).is_err());
        assert_eq!(tap.inbox().waiting(), 0);
    });
}

#[test]
fn a_call_may_go_from_one_task_to_another_on_its_way() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let gate = calling::Gate::new();
        let waits = gate.clone();
        let handler = move |Sum(n): Sum| {
            let gate = waits.clone();
            async move {
                gate.pass().await;
                Ok(u64::from(n))
            }
        };
        let served = bus.serve::<Sum>(handler).start().await.unwrap();
        let mut call = Box::pin(bus.call(Sum(17)).into_future());
        let first = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx))).await;
        assert!(first.is_pending());
        assert_eq!(tap.inbox().waiting(), 1);
        rig.until(|| gate.waiting() == 1).await;
        // Who polls it last is woken.
        let moved = logcontext::run_in_background(call);
        tokio::task::yield_now().await;
        gate.open();
        assert_eq!(moved.await.unwrap(), Ok(17));
        served.stop().await;
    });
}

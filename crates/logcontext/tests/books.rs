//! The books balance: at rest, at any moment, and after threads have come and gone.
#![cfg(all(feature = "tokio", target_os = "linux"))]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::burn;
use logcontext::{FutureExt, LogContext, books, preserve_fn, run_in_background, spawn_blocking, testing};

/// Burns CPU, in a context, when its thread-local is destroyed.
struct Late(LogContext);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.scope(|| burn(2_000_000));
        burn(1_000_000);
    }
}

thread_local! {
    static LATE: std::cell::RefCell<Option<Late>> = const { std::cell::RefCell::new(None) };
}

/// One test: it looks at the whole process.
#[test]
fn the_parts_are_the_clocks_at_any_moment_and_at_rest() {
    let test = testing::start();
    let running = Arc::new(AtomicBool::new(true));
    let reader = {
        let (running, start) = (Arc::clone(&running), test.thread_start());
        #[expect(clippy::disallowed_methods, reason = "it only reads")]
        std::thread::spawn(move || {
            start();
            let mut worst: f64 = 0.0;
            let mut readings = 0;
            while running.load(Relaxed) || readings < 20 {
                let books = books().unwrap();
                // Before 50 ms the very readings weigh more than one percent.
                if books.known_threads_cpu().as_millis() > 50 {
                    worst = worst.max(books.discrepancy_percent().abs());
                    assert!(books.unaccounted_percent() < 100.0);
                    readings += 1;
                }
                std::thread::yield_now();
            }
            worst
        })
    };

    let late = LogContext::new("late");
    let runtime = test.multi_thread(3);
    for round in 0..20 {
        let request = LogContext::new(format!("GET-{round}"));
        runtime.block_on(
            async {
                let lookup = request.nested("lookup");
                let tasks: Vec<_> = (0..50)
                    .map(|_| {
                        let lookup = lookup.clone();
                        run_in_background(async move {
                            for _ in 0..5 {
                                burn(20_000);
                                tokio::task::yield_now().await;
                                async { burn(5_000) }.in_context(lookup.clone()).await;
                            }
                        })
                    })
                    .collect();
                let blocking = spawn_blocking(|| {
                    burn(200_000);
                    std::thread::park_timeout(std::time::Duration::from_micros(300));
                });
                let thread_late = late.clone();
                let start = test.thread_start();
                #[expect(clippy::disallowed_methods, reason = "its body has its context")]
                let thread = std::thread::spawn(preserve_fn(move || {
                    start();
                    // Destroyed after our own exit hook or before, as the platform likes.
                    LATE.with(|late| *late.borrow_mut() = Some(Late(thread_late)));
                    burn(500_000);
                }));
                for task in tasks {
                    task.await.unwrap();
                }
                blocking.await.unwrap();
                thread.join().unwrap();
            }
            .in_context(request.clone()),
        );
        request.finish();
    }
    running.store(false, Relaxed);
    let worst = reader.join().unwrap();
    assert!(worst < 1.0, "at some moment the parts missed the clocks by {worst:.3} %");

    drop(runtime);
    let books = books().unwrap();
    assert!(books.discrepancy_percent().abs() < 0.1, "{books}");
    assert!(books.sentinel() > std::time::Duration::ZERO, "{books}");
    assert!(books.meter() > std::time::Duration::ZERO, "{books}");
    // Twenty threads have burned 2 ms each for it in a destructor.
    let charged = late.usage().cpu().unwrap().as_secs_f64() * 1e3;
    assert!((40.0..45.0).contains(&charged), "{charged:.2} ms");
    // What no clock of ours saw: the very ends of threads.
    assert!((-0.1..5.0).contains(&books.unaccounted_percent()), "{books}");
}

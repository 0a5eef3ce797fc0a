//! The books balance after spans have carried contexts: one test, which looks at the whole process.

mod common;
#[path = "spans/support.rs"]
mod support;

use logcontext::books;
use support::{burn, on_both, spawn};
use tracing::{Instrument, info_span};

#[test]
fn the_books_are_in_order_after_a_run() {
    on_both(|rig, runtime| {
        runtime.block_on(async {
            let mut tasks = Vec::new();
            for number in 0..200 {
                let work = async move {
                    for _ in 0..5 {
                        burn(20_000);
                        tokio::task::yield_now().await;
                        info_span!("part", number).in_scope(|| burn(5_000));
                    }
                };
                let span = info_span!("request", method = "GET", route = "/");
                let task = spawn(work.instrument(span));
                if number % 3 == 0 {
                    task.abort();
                }
                tasks.push(task);
            }
            for task in tasks {
                let _ = task.await;
            }
        });
        let totals = rig.totals("GET /");
        assert_eq!((totals.started, totals.in_flight, totals.ok), (200, 0, 200));
        assert!(rig.test.reports().is_empty());
    });
    let Some(books) = books() else { return };
    assert!(books.discrepancy_percent().abs() < 0.1, "{books}");
}

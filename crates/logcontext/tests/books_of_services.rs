//! The books of a process whose services come and go. They are the whole process's: the only test here, so that nobody
//! else charges anything where tests run side by side in one.
mod common;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::{OnDrop, thread};
use logcontext::testing;
use logcontext::{Supervisor, books};

#[test]
fn the_books_lose_nothing_while_services_come_and_go() {
    let test = testing::start();
    let over = AtomicBool::new(false);
    const CHARGED: Duration = Duration::from_secs(1);
    let before = books().map(|books| books.charged_by_adapters());
    std::thread::scope(|threads| {
        let work: Vec<_> = (0..2)
            .map(|_| {
                thread(&test, threads, || {
                    for _ in 0..1_000 {
                        let service = Supervisor::new("short");
                        service.context("all it does").start().charge_cpu(CHARGED);
                    }
                })
            })
            .collect();
        let reader = thread(&test, threads, || {
            let mut last = Duration::ZERO;
            while !over.load(Relaxed) {
                let Some(books) = books() else { return };
                assert!(books.contexts() >= last, "{:?} after {last:?}", books.contexts());
                last = books.contexts();
            }
        });
        let _over = OnDrop::new(|| over.store(true, Relaxed));
        work.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, Relaxed);
        reader.join().unwrap();
    });
    if let (Some(books), Some(before)) = (books(), before) {
        let charged = books.charged_by_adapters() - before;
        assert_eq!(charged, CHARGED * 2_000);
        assert!((charged..charged + CHARGED).contains(&books.contexts()), "{books}");
    }
}

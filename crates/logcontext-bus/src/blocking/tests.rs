use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use logcontext::{FutureExt, LogContext, current_context, testing};
use tokio::runtime::Handle;

use super::*;

fn threads(test: &testing::Test, runtime: &Handle) -> Threads {
    Threads::new(test.supervisor(), runtime)
}

/// Lets idle threads end, and waits for that.
fn end(threads: Threads) {
    let shared = threads.shared();
    drop(threads);
    while shared.upgrade().is_some() {
        std::thread::yield_now();
    }
}

#[test]
fn work_is_done_on_a_thread_of_its_own_in_the_callers_context_with_the_runtime_entered() {
    let test = testing::start();
    for runtime in [test.current_thread(), test.multi_thread(2)] {
        let threads = threads(&test, runtime.handle());
        let context = LogContext::new("GET-17");
        let work = async {
            let here = std::thread::current().id();
            let running = threads.run(move || {
                assert_ne!(std::thread::current().id(), here);
                (current_context().name().to_owned(), Handle::current().id())
            });
            running.await
        };
        let (name, id) = runtime.block_on(work.in_context(context.clone())).unwrap();
        assert_eq!((&*name, id), ("GET-17", runtime.handle().id()));
        context.finish();
        end(threads);
    }
}

#[test]
fn a_thread_that_has_nothing_to_do_is_used_again() {
    let test = testing::start();
    let runtime = test.current_thread();
    let threads = threads(&test, runtime.handle());
    let context = LogContext::new("GET-17");
    let id = || context.scope(|| threads.run(|| std::thread::current().id()));
    let first = runtime.block_on(id()).unwrap();
    while threads.idle() == 0 {
        std::thread::yield_now();
    }
    let second = runtime.block_on(id()).unwrap();
    assert_eq!(first, second);
    assert_eq!(threads.count(), 1);
    end(threads);
}

#[test]
fn nobody_waits_for_a_thread_however_many_are_at_work() {
    let test = testing::start();
    let runtime = test.current_thread();
    let threads = threads(&test, runtime.handle());
    let all = Arc::new(Barrier::new(200));
    let running: Vec<_> = LogContext::new("GET-17").scope(|| {
        let one = || Arc::clone(&all);
        (0..200).map(|_| one()).map(|all| threads.run(move || all.wait().is_leader())).collect()
    });
    let mut leaders = 0;
    for running in running {
        leaders += usize::from(runtime.block_on(running).unwrap());
    }
    assert_eq!((leaders, threads.count()), (1, 200));
    end(threads);
}

#[test]
fn a_runtime_may_be_started_and_blocked_on_and_so_may_the_bus_s() {
    let test = testing::start();
    let runtime = test.multi_thread(1);
    let threads = threads(&test, runtime.handle());
    let sum = LogContext::new("GET-17").scope(|| {
        threads.run(|| {
            let outer = Handle::current().block_on(async { 16 });
            let own = tokio::runtime::Builder::new_current_thread().build().unwrap();
            outer + own.block_on(async { 1 })
        })
    });
    assert_eq!(runtime.block_on(sum).unwrap(), 17);
    end(threads);
}

#[test]
fn a_panic_is_reported_once_in_its_context_and_the_thread_goes_on() {
    let test = testing::start();
    let runtime = test.current_thread();
    let threads = threads(&test, runtime.handle());
    let context = LogContext::new("GET-17");
    let result = runtime.block_on(context.scope(|| threads.run(|| panic!("no"))));
    let Err(NotDone::Panicked(panic)) = result else { panic!("{result:?}") };
    assert!(panic.is_reported() && panic.message() == "no");
    runtime.block_on(context.scope(|| threads.run(|| {}))).unwrap();
    let records = test.records_at(tracing::Level::ERROR);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].context.name(), &*records[0].message), ("GET-17", "panicked: no"));
    end(threads);
}

#[test]
fn work_that_nobody_waits_for_any_more_goes_on_without_being_late_and_its_result_is_dropped_in_its_context() {
    struct Tells(mpsc::Sender<String>);
    impl Drop for Tells {
        fn drop(&mut self) {
            let _ = self.0.send(current_context().name().to_owned());
        }
    }
    let test = testing::start();
    let runtime = test.current_thread();
    let threads = threads(&test, runtime.handle());
    let (dropped, drops) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let context = LogContext::new("GET-17");
    let result = Tells(dropped);
    let running = context.scope(|| {
        threads.run(move || {
            begun.send(()).unwrap();
            gone.recv().unwrap();
            result
        })
    });
    begins.recv().unwrap();
    drop(running);
    context.finish();
    go.send(()).unwrap();
    assert_eq!(drops.recv().unwrap(), "GET-17");
    end(threads);
}

#[test]
fn what_the_work_has_cost_is_charged_before_anybody_hears_of_its_end() {
    let test = testing::start();
    let runtime = test.current_thread();
    let threads = threads(&test, runtime.handle());
    let context = LogContext::new("GET-17");
    let running = context.scope(|| {
        threads.run(|| {
            let burned = || current_context().usage().cpu().is_none_or(|cpu| cpu >= Duration::from_millis(5));
            while !burned() {}
        })
    });
    runtime.block_on(running).unwrap();
    let usage = context.finish();
    end(threads);
    assert!(usage.cpu().is_none_or(|cpu| cpu >= Duration::from_millis(5)));
    assert_eq!(context.cpu_after_finish().unwrap_or_default(), Duration::ZERO);
    assert_eq!(test.supervisor().slow_polls(), logcontext::SlowPolls::default());
}

#[test]
fn threads_end_when_they_have_been_idle_for_long_and_when_the_bus_has_gone() {
    let test = testing::start();
    let runtime = test.current_thread();
    let threads = Threads::idle_for(test.supervisor(), runtime.handle(), Duration::from_millis(1));
    let context = LogContext::new("GET-17");
    let nothing = || context.scope(|| threads.run(|| {}));
    runtime.block_on(nothing()).unwrap();
    while threads.count() > 0 {
        std::thread::yield_now();
    }
    // There is always one more.
    runtime.block_on(nothing()).unwrap();
    end(threads);
}

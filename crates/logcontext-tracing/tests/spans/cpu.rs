//! CPU goes to whom the span says, every clock beside another.
#![cfg(target_os = "linux")]

use logcontext::{LogContext, current_context};
use tracing::{Instrument, info_span};

use crate::support::{burn, charged, measure, on_a_thread, on_both, rig, spawn};

#[test]
fn a_task_spawned_raw_with_a_root_span_is_charged_what_it_burned() {
    on_both(|_, runtime| {
        let work = || async {
            let mut burned = 0;
            // Long enough that what a poll costs beside it, which is the task's as well, hardly shows.
            for _ in 0..10 {
                burned += burn(2_000_000);
                tokio::task::yield_now().await;
            }
            (current_context(), burned)
        };
        measure(|| {
            let tasks: Vec<_> = runtime.block_on(async {
                let tasks: Vec<_> = (0..4).map(|_| spawn(work().instrument(info_span!("work")))).collect();
                let mut ended = Vec::new();
                for task in tasks {
                    ended.push(task.await.unwrap());
                }
                ended
            });
            let names: std::collections::HashSet<_> =
                tasks.iter().map(|(context, _)| context.name()).collect();
            assert_eq!(names.len(), 4, "each root is a context of its own");
            tasks.iter().try_for_each(|(context, burned)| charged(context, *burned))
        });
    });
}

#[test]
fn spans_left_out_of_order_leave_every_slice_with_its_owner() {
    let _rig = rig();
    measure(|| {
        let (first, second) = (LogContext::new("first"), LogContext::new("second"));
        let one = first.scope(|| info_span!("one")).entered();
        let a = burn(10_000_000);
        let two = second.scope(|| info_span!("two", logcontext.enter = true)).entered();
        let b = burn(10_000_000);
        drop(one);
        let c = burn(10_000_000);
        drop(two);
        burn(10_000_000);
        charged(&first, a).and(charged(&second, b + c))
    });
}

#[test]
fn a_thread_that_a_span_was_carried_to_is_charged_to_its_context() {
    let _rig = rig();
    measure(|| {
        let request = LogContext::new("GET-1");
        let span = request.scope(|| info_span!("statement"));
        let burned = on_a_thread(move || {
            burn(5_000_000);
            let burned = span.in_scope(|| burn(20_000_000));
            burn(5_000_000);
            burned
        });
        charged(&request, burned)
    });
}

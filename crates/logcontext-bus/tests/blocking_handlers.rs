//! Handlers that block.

mod calling;

use std::cell::RefCell;
use std::sync::mpsc;

use calling::{Echo, Other, echo, on_both_runtimes};
use logcontext::{Ending, current_context};
use logcontext_bus::CallError;
use tokio::runtime::Handle;
use tracing::Level;

#[test]
fn they_run_beside_the_runtime_in_contexts_of_their_own() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let (tell, told) = mpsc::channel();
        let handler = move |Echo(text): Echo| {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            tell.send((thread, current_context(), Handle::current().id())).unwrap();
            Ok(text)
        };
        let served = bus.serve_blocking::<Echo>(handler).start().await.unwrap();
        assert_eq!(bus.call(echo("hello")).await, Ok("hello".to_owned()));
        let (thread, context, runtime) = told.recv().unwrap();
        assert_eq!((&*thread, context.name()), ("bus-handler", "test.echo-0"));
        assert_eq!((context.started_by(), context.call_depth()), (Some("GET-17"), 1));
        assert_eq!(runtime, rig.handle.id());
        served.stop().await;
        assert_eq!(context.ending(), Some(Ending::Ok));
        assert_eq!(rig.kit.supervisor().slow_polls().blocked, 0);
    });
}

#[test]
fn they_may_block_for_long_while_async_ones_go_on() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let (go, gone) = mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let blocks = move |Echo(text): Echo| {
            gone.lock().unwrap().recv().unwrap();
            Ok(text)
        };
        let blocking = bus.serve_blocking::<Echo>(blocks).start().await.unwrap();
        let fast = bus.serve::<Other>(|Other(n)| async move { Ok(u64::from(n)) }).start().await.unwrap();
        let call = logcontext::run_in_background(bus.call(echo("slow")).into_future());
        for n in 0..100 {
            assert_eq!(bus.call(Other(n)).await, Ok(u64::from(n)));
        }
        go.send(()).unwrap();
        assert_eq!(call.await.unwrap(), Ok("slow".to_owned()));
        blocking.stop().await;
        fast.stop().await;
    });
}

#[test]
fn they_may_start_a_runtime_and_wait_for_it_and_for_the_bus() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let other = bus.serve::<Other>(|Other(n)| async move { Ok(u64::from(n)) }).start().await.unwrap();
        let calls = bus.clone();
        let handler = move |Echo(_): Echo| {
            let own = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            // By a runtime that the bus knows nothing of, and by its own.
            let sum = own.block_on(async { calls.call(Other(16)).await }).unwrap();
            let one = Handle::current().block_on(async { calls.call(Other(1)).await }).unwrap();
            let many = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let none = many.block_on(async { calls.call(Other(0)).await }).unwrap();
            Ok((sum + one + none).to_string())
        };
        let served = bus.serve_blocking::<Echo>(handler).start().await.unwrap();
        assert_eq!(bus.call(echo("")).await, Ok("17".to_owned()));
        served.stop().await;
        other.stop().await;
    });
}

#[test]
fn a_panic_is_answered_and_logged_once_and_the_next_call_is_handled() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let handler = |Echo(text): Echo| if text.is_empty() { panic!("secret") } else { Ok(text) };
        let served = bus.serve_blocking::<Echo>(handler).start().await.unwrap();
        assert_eq!(bus.call(echo("")).await, Err(CallError::Panicked));
        assert_eq!(bus.call(echo("hello")).await, Ok("hello".to_owned()));
        served.stop().await;
        assert_eq!(rig.logged(Level::ERROR), [("test.echo-0".to_owned(), "panicked: secret".to_owned())]);
        let records = rig.kit.records_at(Level::ERROR);
        assert_eq!(records[0].context.ending(), Some(Ending::Panicked));
    });
}

#[test]
fn an_error_is_answered_and_logged_once() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve_blocking::<Echo>(|Echo(text)| Err(text)).start().await.unwrap();
        assert_eq!(bus.call(echo("no")).await, Err(CallError::Handler("no".to_owned())));
        served.stop().await;
        assert_eq!(
            rig.logged(Level::ERROR),
            [("test.echo-0".to_owned(), "background work failed".to_owned())]
        );
    });
}

#[test]
fn their_threads_end_with_the_bus() {
    thread_local! {
        static ENDS: RefCell<Option<Ends>> = const { RefCell::new(None) };
    }
    struct Ends(#[expect(dead_code, reason = "it is dropped")] mpsc::Sender<()>);
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let (ends, ended) = mpsc::channel();
        let handler = move |Echo(text): Echo| {
            ENDS.set(Some(Ends(ends.clone())));
            Ok(text)
        };
        let served = bus.serve_blocking::<Echo>(handler).start().await.unwrap();
        assert!(bus.call(echo("")).await.is_ok());
        served.stop().await;
        drop(bus);
        // The last sender goes with the last thread.
        assert!(ended.recv().is_err());
    });
}

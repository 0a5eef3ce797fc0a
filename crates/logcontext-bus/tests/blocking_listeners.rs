//! Handlers that block.
mod support;

use std::sync::{Arc, Barrier};
use std::time::Duration;

use logcontext::current_context;
use logcontext_bus::{Delivered, StopReason};
use support::{Changed, changed, done, on_both, tell};

const NAME: &str = "presence.changed";
const GROUP: &str = "presence:sender";

#[test]
fn a_blocking_handler_runs_on_a_thread_of_its_own_in_its_context() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |event: Changed, about: Delivered| {
            let thread = std::thread::current();
            assert_eq!(thread.name(), Some("bus-handler"));
            let _ = tell.send((event.n, about.attempt(), current_context()));
        };
        bus.listen_blocking("sender", handler).start().await.unwrap();
        bus.fire(&changed("alice", 1)).await.unwrap();
        let (n, attempt, context) = told.recv().await.unwrap();
        assert_eq!((n, attempt), (1, 1));
        assert!(context.name().starts_with("presence.changed-sender-"));
        assert_eq!(context.started_by(), Some("test"));
        done(&bus, NAME, GROUP).await;
    });
}

#[test]
fn as_many_block_at_once_as_there_are_slots_while_the_executor_goes_on() {
    const SLOTS: usize = 64;
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let all = Arc::new(Barrier::new(SLOTS));
        let handler = move |event: Changed| {
            // Nobody gets through before all are here.
            all.wait();
            let _ = tell.send(event.n);
        };
        bus.listen_blocking("sender", handler).slots(SLOTS).start().await.unwrap();
        for n in 0..SLOTS as u64 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        let mut got = Vec::new();
        for _ in 0..SLOTS {
            got.push(told.recv().await.unwrap());
        }
        got.sort_unstable();
        assert!(got.iter().copied().eq(0..SLOTS as u64));
        done(&bus, NAME, GROUP).await;
    });
}

#[test]
fn it_may_start_a_runtime_of_its_own_and_fire_from_there_or_from_sync_code() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let fires = bus.clone();
        let handler = move |event: Changed| {
            if event.n == 1 {
                fires.fire(&changed("alice", 2)).blocking()?;
                let own = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                own.block_on(async {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    fires.fire(&changed("alice", 3)).await
                })?;
            }
            let _ = tell.send(event.n);
            Ok::<_, logcontext_bus::FireError>(())
        };
        bus.listen_blocking::<Changed>("sender", handler).slots(1).start().await.unwrap();
        bus.fire(&changed("alice", 1)).await.unwrap();
        for n in 1..=3 {
            assert_eq!(told.recv().await, Some(n));
        }
        done(&bus, NAME, GROUP).await;
    });
}

#[test]
fn the_order_of_keys_is_kept() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |event: Changed| {
            std::thread::yield_now();
            let _ = tell.send((event.user, event.n));
        };
        bus.listen_blocking::<Changed>("sender", handler).in_order().slots(4).start().await.unwrap();
        for n in 0..400 {
            bus.fire(&changed(&format!("user-{}", n % 8), n / 8)).await.unwrap();
        }
        let mut next = std::collections::BTreeMap::<_, u64>::new();
        for _ in 0..400 {
            let (user, n) = told.recv().await.unwrap();
            let next = next.entry(user).or_default();
            assert_eq!(std::mem::replace(next, n + 1), n);
        }
        done(&bus, NAME, GROUP).await;
    });
}

#[test]
fn one_that_was_aborted_goes_on_but_counts_for_nothing() {
    on_both(|world| async move {
        let (supervisor, bus) = world.service(|config| config);
        let (tell, mut told) = tell();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let handler = move |_: Changed| {
            let _ = tell.send("begun");
            let _ = gone.lock().unwrap().recv();
            let _ = tell.send("done");
        };
        let listener = bus.listen_blocking::<Changed>("sender", handler).start().await.unwrap();
        bus.fire(&changed("alice", 1)).await.unwrap();
        assert_eq!(told.recv().await, Some("begun"));
        assert_eq!(supervisor.shutdown(Duration::ZERO).await.aborted.len(), 2);
        assert_eq!(listener.stopped().await, StopReason::Aborted);
        go.send(()).unwrap();
        assert_eq!(told.recv().await, Some("done"));
        drop(bus);
        let lag = world.bus().lag(NAME, GROUP).await.unwrap();
        assert_eq!((lag.unread, lag.pending), (0, 1), "it is there for others");
    });
}

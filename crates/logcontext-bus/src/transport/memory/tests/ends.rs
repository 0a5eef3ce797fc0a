//! Those who are gone are given nothing.

use std::sync::Arc;
use std::task::{Context, Wake};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::{on_a_stopped_clock, prefixed, wish};
use crate::conformance::Case;
use crate::conformance::peer::{RPC, number};
use crate::transport::memory::connection::Connection;
use crate::transport::memory::pump::{Moved, Pumped};
use crate::transport::memory::server::Served;
use crate::transport::memory::subscribed::Subscribed;
use crate::transport::memory::{Memory, lock};
use crate::transport::{Lane, Serve, Subscription};

#[test]
fn calls_of_a_server_that_takes_none_go_to_another() {
    on_a_stopped_clock(|case| async move {
        let (caller, a, b) = (case.connect(), case.connect(), case.connect());
        for lane in [Lane::First, Lane::Nested] {
            let mut deaf = a.serve(10).await;
            deaf.calls.close();
            let mut server = b.serve(10).await;
            for n in 0..4 {
                let call = caller.call_by(lane, n.to_string()).await;
                assert!(server.echo().await);
                assert_eq!(number(&call.answer().await), n);
            }
            assert_eq!(deaf.slots.available_permits(), 10);
        }
    });
}

#[test]
fn who_is_closed_serves_nothing_more() {
    on_a_stopped_clock(|case| async move {
        let (caller, service) = (case.connect(), case.connect());
        let _server = service.serve(0).await;
        let waits = caller.call("0").await;
        service.transport.close(Duration::ZERO).await;
        assert!(waits.was_unserved().await);
        for lane in [Lane::First, Lane::Nested] {
            assert!(caller.call_by(lane, "1").await.was_unserved().await);
        }
    });
}

#[test]
fn events_of_a_consumer_that_takes_none_go_to_another() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let mut deaf = a.wish("group").listen().await;
        deaf.deliveries.close();
        let mut listener = b.wish("group").listen().await;
        a.fire_all(0..4).await;
        assert_eq!(listener.handle_all(4).await, [0, 1, 2, 3]);
        assert_eq!(a.lag("group").await, Default::default());
    });
}

/// A pump may be running on another thread while its consumer dies: it has looked whether it is to stop before.
#[test]
fn who_is_gone_is_given_nothing() {
    on_a_stopped_clock(|case| async move {
        let memory = Memory::new();
        let peer = Case::new(Arc::new(memory.clone())).connect_with(prefixed);
        let space = Arc::clone(&lock(&memory.spaces)["prefix"]);
        let connection = Connection::new(space, case.link(prefixed));
        let shared = &connection.shared;
        let slots = Arc::new(Semaphore::new(2));
        let slot = || Arc::clone(&slots).try_acquire_owned().unwrap();
        let (sender, mut deliveries) = mpsc::unbounded_channel();
        let consumer = Subscribed::start(shared, wish(Arc::new(Semaphore::new(0)), sender));
        peer.fire("0").await;
        consumer.die();
        assert_eq!(consumer.consumer.move_one(slot()), Moved::Nothing);
        assert!(deliveries.try_recv().is_err());
        assert_eq!((peer.lag("group").await.pending, slots.available_permits()), (0, 2));

        let (calls, mut served) = mpsc::unbounded_channel();
        let mut other = peer.serve(0).await;
        let server =
            Served::start(shared, Serve { rpc: RPC.into(), slots: Arc::new(Semaphore::new(0)), calls });
        let _call = peer.call("0").await;
        server.die();
        assert_eq!(server.server.move_one(slot()), Moved::Nothing);
        assert!(served.try_recv().is_err());
        other.slots.add_permits(1);
        assert_eq!(number(&other.next().await.message), 0);
    });
}

#[test]
fn slots_that_are_closed_end_a_consumer_and_a_server_and_nobody_hangs() {
    on_a_stopped_clock(|case| async move {
        let (a, b) = (case.connect(), case.connect());
        let closed = a.wish("group").slots(0).listen().await;
        let server = a.serve(0).await;
        a.fire("0").await;
        let call = b.call("0").await;
        closed.slots.close();
        server.slots.close();
        a.fire("1").await;
        let mut other = b.wish("group").listen().await;
        assert_eq!(other.handle_all(2).await, [0, 1]);
        closed.stop().await;
        server.stop().await;
        assert!(call.was_unserved().await);
    });
}

/// Asks for a stop right where an event is handed over, and says whether that was done at once.
struct StopsMeanwhile(Arc<dyn Subscription>, mpsc::UnboundedSender<bool>);

impl Wake for StopsMeanwhile {
    fn wake(self: Arc<Self>) {
        let _ = self.1.send(futures_util::FutureExt::now_or_never(self.0.stop()).is_some());
    }
}

#[test]
fn a_stop_is_not_over_while_an_event_is_handed_over() {
    on_a_stopped_clock(|case| async move {
        let peer = case.connect();
        let mut listener = peer.wish("group").listen().await;
        let (tell, mut told) = mpsc::unbounded_channel();
        let waker = Arc::new(StopsMeanwhile(Arc::clone(&listener.subscription), tell)).into();
        assert!(listener.deliveries.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        peer.fire("0").await;
        assert_eq!(told.recv().await, Some(false));
        listener.stop().await;
        assert_eq!(number(&listener.next().await.message), 0);
    });
}

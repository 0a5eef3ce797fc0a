//! What threads do to a pump by chance, on purpose.

use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use super::*;

type Script = dyn Fn(&Arc<Scripted>) -> Moved + Send + Sync;

/// Does what the test says for each message that it is to move.
struct Scripted {
    pump: Pump,
    moves: Box<Script>,
    this: Weak<Scripted>,
}

impl Scripted {
    fn new(slots: usize, moves: impl Fn(&Arc<Scripted>) -> Moved + Send + Sync + 'static) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(slots));
        Arc::new_cyclic(|this| Self {
            pump: Pump::new(slots),
            moves: Box::new(moves),
            this: Weak::clone(this),
        })
    }
}

impl Pumped for Scripted {
    fn pump(&self) -> &Pump {
        &self.pump
    }

    fn move_one(&self, _slot: OwnedSemaphorePermit) -> Moved {
        (self.moves)(&self.this.upgrade().expect("it is there"))
    }
}

#[test]
fn a_kick_during_a_run_makes_it_look_once_more() {
    let looks = Arc::new(AtomicUsize::new(0));
    let (tell, told) = mpsc::channel();
    let looked = Arc::clone(&looks);
    let pumped = Scripted::new(1, move |this| {
        // Something comes in right after the first look, as from another thread.
        if looked.fetch_add(1, SeqCst) == 0 {
            tell.send(kick(this)).unwrap();
        }
        Moved::Nothing
    });
    assert_eq!(kick(&pumped), Kicked::Drained);
    assert_eq!((told.recv(), looks.load(SeqCst)), (Ok(Kicked::Runs), 2));
    assert_eq!((kick(&pumped), looks.load(SeqCst)), (Kicked::Drained, 3));
}

#[test]
fn who_waits_for_a_slot_moves_as_soon_as_there_is_one_where_it_is_given_back() {
    let (tell, told) = mpsc::channel();
    let pumped = Scripted::new(1, move |_| {
        tell.send(std::thread::current().id()).unwrap();
        Moved::Last
    });
    let slot = pumped.pump.try_slot().unwrap();
    assert_eq!(kick(&pumped), Kicked::Waits);
    assert_eq!(kick(&pumped), Kicked::Waits);
    assert!(told.try_recv().is_err());
    drop(slot);
    assert_eq!(told.try_recv(), Ok(std::thread::current().id()));
    assert_eq!(kick(&pumped), Kicked::Drained);
}

#[test]
fn who_stops_gives_up_its_place_in_line() {
    let pumped = Scripted::new(0, |_| Moved::Last);
    assert_eq!(kick(&pumped), Kicked::Waits);
    stop_now(&pumped);
    pumped.pump.slots.add_permits(1);
    assert_eq!(pumped.pump.slots.available_permits(), 1);
    assert_eq!(kick(&pumped), Kicked::Waits);
    assert_eq!(pumped.pump.slots.available_permits(), 1);
}

#[test]
fn a_stop_waits_for_what_is_moved_elsewhere() {
    let test = logcontext::testing::start();
    let runtime = test.multi_thread(1);
    let (begins, begun) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let pumped = Scripted::new(1, move |_| {
        begins.send(()).unwrap();
        lock(&ends).recv_timeout(Duration::from_secs(60)).unwrap();
        Moved::OneOfMore
    });
    let moving = Arc::clone(&pumped);
    let stopped = async move {
        let moved = logcontext::spawn_blocking(move || assert_eq!(kick(&moving), Kicked::Waits));
        begun.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut stop = std::pin::pin!(stop(&pumped));
        assert_eq!(futures_util::poll!(&mut stop), Poll::Pending);
        end.send(()).unwrap();
        stop.await;
        moved.await.unwrap();
        assert!(begun.try_recv().is_err(), "it has moved another");
    };
    let context = logcontext::LogContext::new("TEST-1");
    runtime.block_on(logcontext::FutureExt::in_context(stopped, context));
    drop((runtime, test));
}

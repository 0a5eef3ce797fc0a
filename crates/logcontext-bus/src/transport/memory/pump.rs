//! What moves messages to one consumer or server as soon as it has a slot, without a task of its own.
//!
//! Whoever has put in a message kicks the pump. It takes slots and messages until either is out. If it is the slots, it
//! waits for one as a waker that runs the pump right there: whoever gives back a slot moves the next message. Runs never
//! overlap, so messages are handed over in order with no lock held; a kick during a run makes it look once more.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;

use super::lock;

#[cfg(test)]
mod tests;

/// What has a pump.
pub(super) trait Pumped: Send + Sync + 'static {
    fn pump(&self) -> &Pump;

    /// Moves one message, which goes along with the slot. It gives the slot back if there is none.
    fn move_one(&self, slot: OwnedSemaphorePermit) -> Moved;
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// There may be more.
    OneOfMore,
    /// There is no other.
    Last,
    Nothing,
}

/// How a kick has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kicked {
    /// Nothing was left to move.
    Drained,
    /// It has no slot, or takes nothing any more: others may.
    Waits,
    /// It runs on another thread, which will look once more.
    Runs,
}

type Acquiring = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

pub(super) struct Pump {
    slots: Arc<Semaphore>,
    /// So many kicks that no run has seen the end of.
    kicks: AtomicUsize,
    waits: AtomicBool,
    is_stopped: AtomicBool,
    acquiring: Mutex<Option<Acquiring>>,
    has_run: Notify,
}

impl Pump {
    pub(super) fn new(slots: Arc<Semaphore>) -> Self {
        Self {
            slots,
            kicks: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            is_stopped: AtomicBool::new(false),
            acquiring: Mutex::new(None),
            has_run: Notify::new(),
        }
    }

    /// Gets a slot if one is free now.
    pub(super) fn try_slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    /// Nothing more is moved: said from within a move.
    pub(super) fn end(&self) {
        self.is_stopped.store(true, SeqCst);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(SeqCst)
    }
}

/// Moves what there is to move, as far as there are slots.
pub(super) fn kick<P: Pumped>(pumped: &Arc<P>) -> Kicked {
    // Who waits for a slot looks for messages once it has it.
    if pumped.pump().waits.load(SeqCst) {
        return Kicked::Waits;
    }
    run(pumped)
}

/// Moves nothing more.
pub(super) fn stop_now<P: Pumped>(pumped: &Arc<P>) {
    pumped.pump().end();
    run(pumped);
}

/// Moves nothing more. Completes when all that was moved is where it belongs.
pub(super) async fn stop<P: Pumped>(pumped: &Arc<P>) {
    stop_now(pumped);
    let pump = pumped.pump();
    loop {
        let has_run = pump.has_run.notified();
        if pump.kicks.load(SeqCst) == 0 {
            return;
        }
        has_run.await;
    }
}

fn run<P: Pumped>(pumped: &Arc<P>) -> Kicked {
    let pump = pumped.pump();
    if pump.kicks.fetch_add(1, SeqCst) != 0 {
        return Kicked::Runs;
    }
    loop {
        let seen = pump.kicks.load(SeqCst);
        let kicked = turn(pumped);
        if pump.kicks.compare_exchange(seen, 0, SeqCst, SeqCst).is_ok() {
            if pump.is_stopped() {
                pump.has_run.notify_waiters();
            }
            return kicked;
        }
    }
}

fn turn<P: Pumped>(pumped: &Arc<P>) -> Kicked {
    let pump = pumped.pump();
    loop {
        if pump.is_stopped() {
            pump.waits.store(false, SeqCst);
            let acquiring = lock(&pump.acquiring).take();
            drop(acquiring);
            return Kicked::Waits;
        }
        let Some(slot) = slot(pumped) else { return Kicked::Waits };
        match pumped.move_one(slot) {
            Moved::OneOfMore => {}
            Moved::Last | Moved::Nothing => return Kicked::Drained,
        }
    }
}

/// A slot, or the pump waits for one.
fn slot<P: Pumped>(pumped: &Arc<P>) -> Option<OwnedSemaphorePermit> {
    let pump = pumped.pump();
    if !pump.waits.load(SeqCst)
        && let Some(slot) = pump.try_slot()
    {
        return Some(slot);
    }
    // Not every tokio lets go of the lock of slots that are closed before it wakes us: that future is not to be touched.
    if pump.slots.is_closed() {
        return None;
    }
    let mut acquiring = lock(&pump.acquiring);
    let future = acquiring.get_or_insert_with(|| {
        pump.waits.store(true, SeqCst);
        // Its poll is no step of whatever task runs here.
        Box::pin(unconstrained(Arc::clone(&pump.slots).acquire_owned()))
    });
    let waker = Waker::from(Arc::new(Waking(Arc::downgrade(pumped))));
    let Poll::Ready(slot) = future.as_mut().poll(&mut Context::from_waker(&waker)) else { return None };
    *acquiring = None;
    pump.waits.store(false, SeqCst);
    slot.ok()
}

/// Runs the pump where a slot is given back.
struct Waking<P>(Weak<P>);

impl<P: Pumped> Wake for Waking<P> {
    fn wake(self: Arc<Self>) {
        if let Some(pumped) = self.0.upgrade() {
            run(&pumped);
        }
    }
}

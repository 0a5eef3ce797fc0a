//! A thread that does something a few microseconds from now. It spins: a sleeping one would be late by more
//! than the times that are asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::task::Waker;
use std::thread::Thread;
use std::time::{Duration, Instant};

#[derive(Clone)]
pub(super) struct Alarm(Sender<(Instant, Ring)>);

enum Ring {
    Wake(Vec<Waker>),
    Unpark(Arc<AtomicBool>, Thread),
}

impl Alarm {
    /// Runs `f` with an alarm.
    pub(super) fn with<R>(f: impl FnOnce(Self) -> R) -> R {
        let (sender, receiver) = channel();
        std::thread::scope(|s| {
            #[expect(clippy::disallowed_methods, reason = "it is not part of what is measured")]
            s.spawn(move || serve(&receiver));
            // The thread ends when the last sender is gone.
            f(Self(sender))
        })
    }

    /// Wakes these tasks, in this order.
    pub(super) fn wake(&self, after: Duration, wakers: Vec<Waker>) {
        let _ = self.0.send((Instant::now() + after, Ring::Wake(wakers)));
    }

    /// Blocks the calling thread for about that long.
    pub(super) fn block(&self, length: Duration) {
        let done = Arc::new(AtomicBool::new(false));
        let ring = Ring::Unpark(Arc::clone(&done), std::thread::current());
        let _ = self.0.send((Instant::now() + length, ring));
        while !done.load(Relaxed) {
            std::thread::park();
        }
    }
}

fn serve(receiver: &Receiver<(Instant, Ring)>) {
    loop {
        let (time, ring) = match receiver.try_recv() {
            Ok(next) => next,
            Err(TryRecvError::Empty) => {
                std::hint::spin_loop();
                continue;
            }
            Err(TryRecvError::Disconnected) => return,
        };
        while Instant::now() < time {
            std::hint::spin_loop();
        }
        match ring {
            Ring::Wake(wakers) => wakers.into_iter().for_each(Waker::wake),
            Ring::Unpark(done, thread) => {
                done.store(true, Relaxed);
                thread.unpark();
            }
        }
    }
}

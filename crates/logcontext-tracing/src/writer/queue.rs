//! The queue between those who log and the thread that writes: one buffer that records are appended to, and
//! taken from as a whole.
//!
//! Waking a thread costs more than all the rest of a record, so that the writer is woken only when it sleeps:
//! while records come it looks again by itself after a while (it lingers), and goes to sleep when there were
//! none in the meantime. Who cannot wait (an error, a flush, a queue that fills up) makes it hurry.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::WhenFull;
use super::target::BoxedWrite;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) when_full: WhenFull,
    pub(crate) linger: Duration,
}

/// How long a thread that panics waits for room.
const PANICKING_WAITS: Duration = Duration::from_secs(1);

pub(crate) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    /// For the writer: there is something to do.
    work: Condvar,
    /// For those who log: there is room again.
    room: Condvar,
    /// For those who flush: something is done.
    done: Condvar,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    records: usize,
    /// Records that were ever taken in, and those of them that are over and done with.
    queued: u64,
    done: u64,
    /// Records lost that no line has told of yet, and all that were lost.
    untold: u64,
    dropped: u64,
    writer: Writer,
    hurry: bool,
    waiting_for_room: usize,
    wake_ups: u64,
    reopened: Option<BoxedWrite>,
    end: End,
    said: bool,
    /// The writer's thread is done, its context finished.
    gone: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Awake,
    Lingering,
    Asleep,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd)]
enum End {
    #[default]
    Open,
    /// The writer shall write what there is, and end.
    Closing,
    /// It has ended.
    Closed,
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    Dropped,
    /// There is no writer any more.
    Closed,
}

/// What the writer is to write.
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    pub(crate) records: usize,
    /// How many records were lost that no line has told of.
    pub(crate) lost: u64,
    pub(crate) reopened: Option<BoxedWrite>,
}

/// A look at the queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
    pub(crate) dropped: u64,
    pub(crate) wake_ups: u64,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            done: Condvar::new(),
        }
    }

    /// Takes a record in. `urgent`: it shall be written at once.
    #[inline]
    pub(crate) fn push(&self, record: &[u8], urgent: bool) -> Pushed {
        let mut state = self.lock();
        if state.end == End::Closed {
            return Pushed::Closed;
        }
        if self.is_full(&state, record.len()) {
            let Some(with_room) = self.wait_for_room(state, record.len()) else { return Pushed::Dropped };
            state = with_room;
            if state.end == End::Closed {
                return Pushed::Closed;
            }
        }
        state.bytes.extend_from_slice(record);
        state.records += 1;
        state.queued += 1;
        let filling = state.records >= self.limits.records / 2 || state.bytes.len() >= self.limits.bytes / 2;
        self.wake(state, urgent || filling);
        Pushed::Queued
    }

    fn is_full(&self, state: &State, more: usize) -> bool {
        // One that is longer than all of the queue goes alone.
        state.records > 0
            && (state.records >= self.limits.records
                || state.bytes.len().saturating_add(more) > self.limits.bytes)
    }

    /// `None`: there is none, and the record is dropped.
    #[cold]
    fn wait_for_room<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        more: usize,
    ) -> Option<MutexGuard<'a, State>> {
        let limit = std::thread::panicking().then(|| Instant::now() + PANICKING_WAITS);
        while self.is_full(&state, more) && state.end != End::Closed {
            let left = limit.map(|limit| limit.saturating_duration_since(Instant::now()));
            // A writer that shall end but does not is stuck: nobody waits for it then.
            let drop = self.limits.when_full == WhenFull::Drop || state.end == End::Closing;
            if drop || left == Some(Duration::ZERO) {
                state.untold += 1;
                state.dropped += 1;
                return None;
            }
            state.waiting_for_room += 1;
            state = match left {
                Some(left) => self.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.room.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            state.waiting_for_room -= 1;
        }
        Some(state)
    }

    /// Sees to it that the writer looks at the queue: at once, or when it has lingered.
    #[inline]
    fn wake(&self, mut state: MutexGuard<'_, State>, hurry: bool) {
        let hurry = hurry && !std::mem::replace(&mut state.hurry, true);
        let wake = match state.writer {
            Writer::Awake => false,
            Writer::Lingering => hurry,
            Writer::Asleep => true,
        };
        if wake {
            state.writer = Writer::Awake;
            state.wake_ups += 1;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Waits for something to write. `None`: that was all. `spare` is the buffer of the last batch.
    pub(crate) fn take(&self, spare: Vec<u8>) -> Option<Batch> {
        let mut state = self.lock();
        loop {
            state = self.linger(state);
            // At the end what was lost is told of once, whether it can be written or not.
            let last_words =
                state.end == End::Closing && state.untold > 0 && !std::mem::replace(&mut state.said, true);
            if state.records > 0 || last_words {
                return Some(self.batch(state, spare));
            }
            if state.end == End::Closing {
                state.end = End::Closed;
                drop(state);
                self.done.notify_all();
                self.room.notify_all();
                return None;
            }
            state.hurry = false;
            state.writer = Writer::Asleep;
            state = self
                .work
                .wait_while(state, |state| state.writer == Writer::Asleep)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Gives the records time to become more.
    fn linger<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        if self.limits.linger > Duration::ZERO {
            state.writer = Writer::Lingering;
            let linger = self.limits.linger;
            state = self
                .work
                .wait_timeout_while(state, linger, |state| !state.hurry && state.end == End::Open)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.writer = Writer::Awake;
        state
    }

    fn batch(&self, mut state: MutexGuard<'_, State>, mut spare: Vec<u8>) -> Batch {
        spare.clear();
        state.hurry = false;
        let batch = Batch {
            bytes: std::mem::replace(&mut state.bytes, spare),
            records: std::mem::take(&mut state.records),
            lost: std::mem::take(&mut state.untold),
            reopened: state.reopened.take(),
        };
        let waiting = state.waiting_for_room > 0;
        drop(state);
        if waiting {
            self.room.notify_all();
        }
        batch
    }

    /// The writer is done with so many records. `lost`: so many of them never arrived; `untold`: so many more
    /// are still to be told of.
    pub(crate) fn settle(&self, records: usize, lost: u64, untold: u64) {
        let mut state = self.lock();
        state.done += records as u64;
        state.dropped += lost;
        state.untold += lost + untold;
        drop(state);
        self.done.notify_all();
    }

    /// Waits until all that is in the queue by now is written, and answers whether it is.
    pub(crate) fn flush(&self, limit: Duration) -> bool {
        let state = self.lock();
        let until = state.queued;
        if state.done < until {
            self.wake(state, true);
        } else {
            drop(state);
        }
        self.wait(limit, |state| state.done >= until || state.end == End::Closed)
    }

    /// Tells the writer to write what there is and to end, and answers whether it has.
    pub(crate) fn close(&self, limit: Duration) -> bool {
        let mut state = self.lock();
        if state.end == End::Open {
            state.end = End::Closing;
        }
        self.wake(state, true);
        // Those who wait for room of a writer that is stuck need not wait any longer.
        self.room.notify_all();
        self.wait(limit, |state| state.gone)
    }

    /// The writer's last word.
    pub(crate) fn writer_is_gone(&self) {
        self.lock().gone = true;
        self.done.notify_all();
    }

    /// Has it been told to end?
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().end != End::Open
    }

    fn wait(&self, limit: Duration, is_over: impl Fn(&State) -> bool) -> bool {
        let (state, _) = self
            .done
            .wait_timeout_while(self.lock(), limit, |state| !is_over(state))
            .unwrap_or_else(PoisonError::into_inner);
        is_over(&state)
    }

    /// The next batch goes there. Gives it back if there will be none.
    pub(crate) fn reopened(&self, writer: BoxedWrite) -> Option<BoxedWrite> {
        let mut state = self.lock();
        if state.end == End::Closed {
            return Some(writer);
        }
        state.reopened = Some(writer);
        None
    }

    /// Counts a record that never was in the queue; no line tells of it.
    pub(crate) fn count_dropped(&self) {
        self.lock().dropped += 1;
    }

    pub(crate) fn look(&self) -> Look {
        let state = self.lock();
        Look {
            records: state.records,
            bytes: state.bytes.len(),
            dropped: state.dropped,
            wake_ups: state.wake_ups,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

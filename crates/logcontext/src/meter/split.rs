//! User and system time: an estimate that adds up.

use std::cell::Cell;

use crate::clock;

/// `getrusage` is asked again after this much CPU time of the thread.
const INTERVAL: u64 = 1_000_000;
/// System time that `getrusage` reported and nobody was charged for yet is handed out over this much CPU time.
const HORIZON: u64 = 4_000_000;
/// System time is handed out in pieces of at least this size, so that most charges touch one counter only.
const QUANTUM: u64 = 1_000;

/// The part of each charge that is system time. The kernel's own figures move at ticks of some milliseconds, so
/// each charge takes the thread's last known ratio, and what that leaves over is handed out later: in the end
/// the thread's split is the kernel's.
pub(super) struct Split {
    /// The thread's CPU clock when `getrusage` was last asked.
    asked_at: Cell<u64>,
    /// System time charged so far, to anyone.
    charged: Cell<u64>,
    /// System time per nanosecond of CPU, in 65536ths.
    ratio: Cell<u64>,
    /// System time that is due by the ratio but too little to be handed out, in 65536ths of a nanosecond.
    pending: Cell<u64>,
    /// How often the thread had waited, by itself, when `getrusage` was asked.
    waits: Cell<u64>,
}

impl Split {
    pub(super) const fn new() -> Self {
        Self {
            asked_at: Cell::new(0),
            charged: Cell::new(0),
            ratio: Cell::new(0),
            pending: Cell::new(0),
            waits: Cell::new(0),
        }
    }

    pub(super) fn restart(&self) {
        self.asked_at.set(0);
        self.charged.set(0);
        self.ratio.set(0);
        self.pending.set(0);
    }

    /// The system time in a charge of so many nanoseconds.
    #[inline]
    pub(super) fn share(&self, nanos: u64) -> u64 {
        let ratio = self.ratio.get();
        if ratio == 0 {
            return 0;
        }
        let pending = self.pending.get() + nanos * ratio;
        let due = pending >> 16;
        if due < QUANTUM {
            self.pending.set(pending);
            return 0;
        }
        let share = due.min(nanos);
        self.pending.set(pending - (share << 16));
        self.charged.set(self.charged.get() + share);
        share
    }

    pub(super) fn charged_to_the_meter(&self, nanos: u64) {
        // A sync is little but system calls.
        self.charged.set(self.charged.get() + nanos);
    }

    /// Finds the ratio for a charge of `next` nanoseconds, and for those after it.
    pub(super) fn update(&self, cpu: u64, next: u64) {
        let since = cpu.saturating_sub(self.asked_at.get());
        if since < INTERVAL {
            return;
        }
        let Some(record) = clock::thread_record() else { return };
        self.waits.set(record.waits);
        self.asked_at.set(cpu);
        let due = record.system.saturating_sub(self.charged.get());
        // A long slice made most of this interval, and takes its part of it; what it leaves is spread.
        let horizon = HORIZON.max(next);
        self.ratio.set(((due << 16) / horizon).min(1 << 16));
        self.pending.set(0);
    }

    /// How often the thread had waited, by itself, when `getrusage` was asked.
    pub(super) fn waits(&self) -> u64 {
        self.waits.get()
    }
}

//! Charging slices of CPU to contexts: the part that runs at every switch.
//!
//! A switch reads the tick counter once; the reading ends one slice and starts the next. Ticks are exact until
//! the thread is preempted, blocks or parks; so a slice that took long, and every slice once a millisecond has
//! been booked by ticks alone, is checked against the thread's CPU clock (a *sync*). `docs/design.md` tells why
//! it is done this way and what it measures.
//!
//! The invariant that everything here keeps: what a thread has booked, to whomever, is `sync_cpu + unsynced`.

mod slot;
mod split;

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::panic::Location;
use std::sync::atomic::Ordering::Relaxed;

use crate::clock;
use crate::context::LogContext;
use crate::diagnostics::{self, DiagnosticKind, Report};
use slot::{Slot, ThreadState};
pub(crate) use slot::{Threads, after_fork, cpu_is_measured, read_threads};
use split::Split;

/// A thread may book this much by ticks before it looks at its CPU clock, however short its slices are.
const SYNC_INTERVAL: u64 = 1_000_000;
/// A slice in a context that took at least this long is checked: where a thread starts, and the most that it
/// works its way up to. In nanoseconds, like everything here.
const LIMIT: u64 = 20_000;
/// The same for slices in the sentinel, where a worker may have parked.
const SENTINEL_LIMIT: u64 = 5_000;
/// No slice shorter than this is ever checked.
const FLOOR: u64 = 1_000;
/// Deficits are summed over stretches of this much CPU; more than one part in [`DEFICIT`] of it halves the limits.
const STRETCH: i64 = 1_000_000;
const DEFICIT: i64 = 50;
/// So many stretches in a row with less double them again.
const CLEAN: u32 = 32;
/// What a reading of the thread's clock is taken to cost before it has been measured.
const READING: u64 = 400;

/// How a context comes to be entered: decides whether entering a finished one is a fault.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    /// By a scope, a guard, a poll that started here: late if the context has finished.
    From(&'static Location<'static>),
    /// By work that rightly outlives the context, by a drop, or on the way back to an outer context.
    Rightful,
}

thread_local! {
    // Const and without a destructor: reachable from the destructors of other thread-locals, however late.
    static THREAD: Thread = const { Thread::new() };
}

struct Thread {
    current: Cell<ManuallyDrop<LogContext>>,
    /// The current context's id, so that "already current" is answered without touching the context.
    current_id: Cell<u64>,
    /// Ticks at the last switch.
    last: Cell<u64>,
    state: Cell<ThreadState>,
    limit: Cell<u64>,
    sentinel_limit: Cell<u64>,
    /// CPU since the limits were last thought about, and what of it came too late: see [`Self::adapt`].
    stretch: Cell<i64>,
    deficits: Cell<i64>,
    clean: Cell<u32>,
    /// What a reading of the thread's clock costs, in nanoseconds: the mean of late.
    reading: Cell<u64>,
    split: Split,
    /// Wall time, in ticks, that was spent blocking with leave to, or that has been reported already.
    excused: Cell<u64>,
    #[cfg(tokio_unstable)]
    switches: Cell<u64>,
}

impl Thread {
    const fn new() -> Self {
        Self {
            current: Cell::new(ManuallyDrop::new(LogContext::sentinel())),
            current_id: Cell::new(0),
            last: Cell::new(0),
            state: Cell::new(ThreadState::Untouched),
            limit: Cell::new(LIMIT),
            sentinel_limit: Cell::new(SENTINEL_LIMIT),
            stretch: Cell::new(0),
            deficits: Cell::new(0),
            clean: Cell::new(0),
            reading: Cell::new(READING),
            split: Split::new(),
            excused: Cell::new(0),
            #[cfg(tokio_unstable)]
            switches: Cell::new(0),
        }
    }
}

/// Makes `next` the thread's current context and gives back the one that was. What ran since the last switch is
/// charged to the latter. If `next` is current already, no slice ends.
#[inline]
pub(crate) fn switch(next: LogContext, entry: Entry) -> LogContext {
    THREAD.with(|thread| {
        if thread.current_id.get() == next.id() {
            return next;
        }
        let now = clock::ticks();
        thread.change(next, entry, now)
    })
}

/// The same for a context that somebody keeps: the handle is copied, but not before the ticks are read, which
/// would have to wait for the counting of a reference.
#[inline]
pub(crate) fn switch_to(next: &LogContext, entry: Entry) -> LogContext {
    THREAD.with(|thread| {
        let now = clock::ticks();
        thread.change(next.clone(), entry, now)
    })
}

/// The id of the current context; 0 is the sentinel's.
#[inline]
pub(crate) fn current_id() -> u64 {
    THREAD.with(|thread| thread.current_id.get())
}

/// A handle to the current context.
#[inline]
pub(crate) fn current() -> LogContext {
    peek(LogContext::clone)
}

/// Looks at the current context without counting a reference. `look` must not ask for the current context
/// itself: the sentinel is in its place meanwhile. Nor may it panic.
#[inline]
pub(crate) fn peek<R>(look: impl FnOnce(&LogContext) -> R) -> R {
    THREAD.with(|thread| {
        let current = thread.current.replace(ManuallyDrop::new(LogContext::sentinel()));
        let result = look(&current);
        // What is replaced is the sentinel put there two lines up: nothing to drop.
        let _ = thread.current.replace(current);
        result
    })
}

/// Charges the slice that is open on this thread to the current context, which stays current.
#[inline]
pub(crate) fn settle() {
    let current = current();
    THREAD.with(|thread| thread.close_slice(&current, current.id(), clock::ticks()));
}

/// How many times this thread has changed its context.
#[cfg(tokio_unstable)]
pub(crate) fn switches() -> u64 {
    THREAD.with(|thread| thread.switches.get())
}

/// Where a thread stands: to find out, later, what it used in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    ticks: u64,
    booked: u64,
    excused: u64,
    /// How often the thread had waited, as far as was known then.
    waits: u64,
}

/// What a thread used between a [`Mark`] and the switch after it, in nanoseconds.
pub(crate) struct Stretch {
    pub(crate) wall: u64,
    pub(crate) cpu: Option<u64>,
}

/// The thread's standing at the switch that it made last.
#[inline]
pub(crate) fn mark() -> Mark {
    THREAD.with(|thread| Mark {
        ticks: thread.last.get(),
        booked: thread.state.get().slot().map_or(0, Slot::booked),
        excused: thread.excused.get(),
        waits: thread.split.waits(),
    })
}

impl Mark {
    /// Time from the mark to the last switch, as ticks count it, less what was excused.
    #[inline]
    pub(crate) fn until_last_switch(self) -> Stretch {
        let now = mark();
        let ticks = now.ticks.wrapping_sub(self.ticks).saturating_sub(now.excused.wrapping_sub(self.excused));
        Stretch {
            wall: clock::nanos_between(0, ticks),
            cpu: cpu_is_measured().then(|| now.booked.saturating_sub(self.booked)),
        }
    }

    /// Is it certain that the thread has not waited for anything since? It is asked how often it has once per
    /// millisecond of its CPU. If that has not changed since before the mark, what kept the thread was the system,
    /// which gave the processor to others.
    pub(crate) fn has_not_waited(self) -> bool {
        self.waits > 0 && clock::thread_record().is_some_and(|record| record.waits == self.waits)
    }

    /// Is the stretch from here to the last switch longer than this, in nanoseconds? Cheap: for every poll.
    #[inline]
    pub(crate) fn is_longer_than(self, nanos: u64) -> bool {
        let now = THREAD.with(|thread| thread.last.get());
        clock::nanos_between(self.ticks, now) > nanos
    }
}

/// Everything from the mark to the last switch counts as explained: the next to ask hears nothing of it.
pub(crate) fn excuse_since(mark: Mark) {
    THREAD.with(|thread| {
        let ticks = thread.last.get().wrapping_sub(mark.ticks);
        thread.excused.set(mark.excused.wrapping_add(ticks));
    });
}

impl Thread {
    #[inline]
    fn change(&self, next: LogContext, entry: Entry, now: u64) -> LogContext {
        let id = next.id();
        if let Entry::From(origin) = entry
            && next.is_over()
        {
            diagnostics::entered_late(&next, origin);
        }
        let previous = ManuallyDrop::into_inner(self.current.replace(ManuallyDrop::new(next)));
        self.current_id.set(id);
        #[cfg(tokio_unstable)]
        self.switches.set(self.switches.get() + 1);
        self.close_slice(&previous, id, now);
        previous
    }

    /// Ends the open slice, charges it to `previous`, and starts the next one under `next_id`.
    #[inline]
    fn close_slice(&self, previous: &LogContext, next_id: u64, now: u64) {
        let slice = clock::nanos_between(self.last.replace(now), now);
        let ThreadState::Live(slot) = self.state.get() else { return self.close_unusual(previous, next_id) };
        let unsynced = slot.unsynced.load(Relaxed);
        let limit = if previous.is_sentinel() { self.sentinel_limit.get() } else { self.limit.get() };
        let booked = unsynced.saturating_add_unsigned(slice);
        if slice < limit && booked < SYNC_INTERVAL.cast_signed() {
            // First: its atomic addition would wait for the stores below.
            self.charge(slot, previous, slice);
            slot.begin_write();
            slot.unsynced.store(booked, Relaxed);
            slot.current.store(next_id, Relaxed);
            slot.end_write();
        } else {
            self.sync(slot, previous, next_id, now, slice);
        }
    }

    #[inline]
    fn charge(&self, slot: &Slot, to: &LogContext, nanos: u64) {
        let system = self.split.share(nanos);
        match to.inner() {
            Some(inner) => inner.charge_cpu(nanos, system),
            None => slot.charge_sentinel(nanos.cast_signed(), system),
        }
    }

    /// Ends the slice by the thread's CPU clock.
    #[cold]
    #[inline(never)]
    fn sync(&self, slot: &Slot, previous: &LogContext, next_id: u64, now: u64, slice: u64) {
        let Some(cpu) = clock::thread_cpu() else { return };
        let read = clock::ticks();
        let reading = self.cost_of_reading(clock::nanos_between(now, read));
        // The clock is read somewhere inside the call; half of the call is before it.
        let half = reading / 2;
        let sync_cpu = slot.sync_cpu.load(Relaxed);
        if cpu < sync_cpu {
            let by = format!("by {} ns", sync_cpu - cpu);
            Report::new(DiagnosticKind::ClockWentBackwards, previous).detail(&by).raise();
        }
        let ran = cpu.saturating_sub(sync_cpu).cast_signed();
        let unsynced = slot.unsynced.load(Relaxed);
        // What this slice used, if everything booked since the last sync was right.
        let rest = ran - unsynced - half.cast_signed();
        let charge = if previous.is_sentinel() { rest } else { rest.max(0) };
        self.adapt(rest, ran, slice);
        self.split.update(cpu, charge.max(0).cast_unsigned());

        let end = clock::ticks();
        self.last.set(end);
        let behind = half + clock::nanos_between(read, end).min(4 * reading);
        slot.begin_write();
        // After a clock that went backwards we go on from where it is now: what it took back stays booked.
        slot.sync_cpu.store(cpu, Relaxed);
        slot.unsynced.store(charge - rest + behind.cast_signed(), Relaxed);
        slot.current.store(next_id, Relaxed);
        slot.charge_meter(half + behind);
        self.split.charged_to_the_meter(half + behind);
        // Before readers may look again: this slice may be a long one, and this thread be preempted here.
        match previous.inner() {
            Some(_) => self.charge(slot, previous, charge.cast_unsigned()),
            None => slot.charge_sentinel(charge, self.split.share(charge.max(0).cast_unsigned())),
        }
        slot.end_write();
    }

    /// What of this reading's time was the reading. System calls are where threads are preempted: one that took
    /// far longer than those before it was interrupted, and cost what they did.
    fn cost_of_reading(&self, took: u64) -> u64 {
        let usual = self.reading.get();
        if took > 4 * usual {
            return usual;
        }
        self.reading.set((7 * usual + took) / 8);
        took
    }

    /// A deficit says that slices were too short to be checked and yet blocked: check shorter ones. What counts is
    /// how much of it there is in a stretch of the thread's CPU. A single one may be the clock's own unrest, and
    /// shorter limits would only see more of that.
    fn adapt(&self, rest: i64, ran: i64, slice: u64) {
        let deficit = if slice < self.limit.get() {
            // Only the interval ended here: this slice should have its ticks.
            slice.cast_signed() - rest
        } else {
            -rest
        };
        let deficits = self.deficits.get() + deficit.max(0);
        let stretch = self.stretch.get() + ran;
        if deficits <= STRETCH / DEFICIT && stretch < STRETCH {
            self.deficits.set(deficits);
            self.stretch.set(stretch);
            return;
        }
        self.deficits.set(0);
        self.stretch.set(0);
        if deficits > STRETCH / DEFICIT {
            self.clean.set(0);
            self.limit.set((self.limit.get() / 2).max(FLOOR));
            self.sentinel_limit.set((self.sentinel_limit.get() / 2).max(FLOOR));
        } else {
            self.clean.set(self.clean.get() + 1);
            if self.clean.get() >= CLEAN {
                self.clean.set(0);
                self.limit.set((self.limit.get() * 2).min(LIMIT));
                self.sentinel_limit.set((self.sentinel_limit.get() * 2).min(SENTINEL_LIMIT));
            }
        }
    }

    /// The first switch of a thread, and those after its exit hook has run.
    #[cold]
    #[inline(never)]
    fn close_unusual(&self, previous: &LogContext, next_id: u64) {
        match self.state.get() {
            ThreadState::Untouched => {
                self.state.set(slot::register(next_id));
                self.last.set(clock::ticks());
            }
            ThreadState::Ended { settled } => {
                let Some(cpu) = clock::thread_cpu() else { return };
                self.state.set(ThreadState::Ended { settled: cpu });
                slot::charge_ended(previous, cpu.saturating_sub(settled));
            }
            ThreadState::Live(_) | ThreadState::NoClock | ThreadState::Driver => {}
        }
    }

    /// Runs as one of the thread's destructors: settles its books. What runs later is `Ended`.
    fn end(&self) {
        let ThreadState::Live(slot) = self.state.get() else { return };
        let current =
            ManuallyDrop::into_inner(self.current.replace(ManuallyDrop::new(LogContext::sentinel())));
        self.current_id.set(0);
        let now = clock::ticks();
        let slice = clock::nanos_between(self.last.replace(now), now);
        self.sync(slot, &current, 0, now, slice);
        self.state.set(ThreadState::Ended { settled: slot.retire() });
        drop(current);
    }
}

/// From now on contexts entered on this thread are charged nothing here. False if they have been already: then it
/// stays a thread like any other.
pub(crate) fn become_driver() -> bool {
    THREAD.with(|thread| match thread.state.get() {
        ThreadState::Untouched | ThreadState::Driver => {
            thread.state.set(ThreadState::Driver);
            true
        }
        ThreadState::Live(_) | ThreadState::Ended { .. } | ThreadState::NoClock => false,
    })
}

/// Called by the hook that a thread runs when it ends.
fn end_thread() {
    THREAD.with(Thread::end);
}

/// Called by [`after_fork`]: the thread that is left starts anew.
fn restart_thread() {
    THREAD.with(|thread| {
        thread.split.restart();
        if let ThreadState::Live(_) = thread.state.get() {
            thread.state.set(slot::register(thread.current_id.get()));
        }
        thread.last.set(clock::ticks());
    });
}

#[cfg(all(test, target_os = "linux", not(logcontext_no_cpu_clock)))]
mod tests {
    use super::*;
    use crate::testing;

    fn burn(nanos: u64) -> u64 {
        let start = clock::thread_cpu().unwrap();
        loop {
            let burned = clock::thread_cpu().unwrap() - start;
            if burned >= nanos {
                return burned;
            }
        }
    }

    /// As if the thread had blocked for so long: the ticks say so, the clock does not.
    fn block(nanos: u64) {
        let before = clock::ticks();
        let mut later = before;
        while clock::nanos_between(before, later) < nanos {
            later += 1_000;
        }
        THREAD.with(|thread| thread.last.set(thread.last.get() - (later - before)));
    }

    fn slot() -> &'static Slot {
        THREAD.with(|thread| thread.state.get().slot().unwrap())
    }

    /// All that was charged on this thread since it began to meter, in nanoseconds.
    fn charged(contexts: &[&LogContext]) -> i64 {
        let contexts: u64 = contexts.iter().map(|ctx| ctx.inner().unwrap().account().usage().cpu_nanos).sum();
        contexts.cast_signed() + slot().own_parts()
    }

    #[test]
    fn what_short_blocks_were_charged_too_much_is_carried_and_worked_off() {
        let _test = testing::start();
        let (blocker, victim) = (LogContext::new("blocker"), LogContext::new("victim"));
        // What the thread had burned before the books began is nobody's.
        blocker.scope(|| ());
        let before = slot().booked().cast_signed() - charged(&[&blocker]);
        blocker.scope(|| burn(30_000));
        for _ in 0..10 {
            blocker.scope(|| block(15_000));
        }
        // Checked, and found to have run less than what was booked: charged nothing, and a deficit is left.
        victim.scope(|| burn(25_000));
        let deficit = slot().unsynced.load(Relaxed);
        assert!(deficit > 50_000, "{deficit}");
        // Nothing is lost or invented: what was charged, to anyone, is what is booked.
        assert_eq!(before + charged(&[&blocker, &victim]), slot().booked().cast_signed());
        // The limits have come down, so that such blocks are checked from now on.
        assert!(THREAD.with(|thread| thread.limit.get()) < LIMIT);
        let _ = victim.scope(|| burn(2_000_000));
        assert!(slot().unsynced.load(Relaxed) < 50_000);
        assert_eq!(before + charged(&[&blocker, &victim]), slot().booked().cast_signed());
        let error = slot().booked().abs_diff(clock::thread_cpu().unwrap());
        assert!(error < 50_000, "booked and burned are {error} ns apart");
    }

    #[test]
    fn a_short_park_is_refunded_by_the_sentinel_and_not_by_the_next_context() {
        let _test = testing::start();
        let context = LogContext::new("poll");
        let _ = context.scope(|| burn(30_000));
        let before = context.inner().unwrap().account().usage().cpu_nanos;
        let mut burned = 0;
        for _ in 0..200 {
            // As on a thread that has not adapted to its parks yet.
            THREAD.with(|thread| {
                thread.limit.set(LIMIT);
                thread.sentinel_limit.set(SENTINEL_LIMIT);
            });
            // Parks too short to be checked, one that is not, and a poll long enough to be checked.
            for _ in 0..5 {
                block(4_000);
                burned += context.scope(|| burn(3_000));
            }
            block(8_000);
            burned += context.scope(|| burn(25_000));
        }
        let charged = context.inner().unwrap().account().usage().cpu_nanos - before;
        let ratio = charged as f64 / burned as f64;
        assert!(ratio > 0.95, "{ratio:.2} of what it burned");
    }

    #[test]
    fn clean_checks_raise_the_limits_again() {
        let _test = testing::start();
        let context = LogContext::new("poll");
        let _ = context.scope(|| burn(30_000));
        THREAD.with(|thread| thread.limit.set(FLOOR));
        for _ in 0..3 * CLEAN * 100 {
            context.scope(|| burn(10_000));
        }
        assert!(THREAD.with(|thread| thread.limit.get()) > FLOOR);
    }
}

//! What a thread publishes of itself, the register of all threads, and how others read them.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, fence};

use crate::clock::{self, ThreadClock};
use crate::context::LogContext;
use crate::sync::lock;

/// One thread's figures. Written by that thread alone, without read-modify-write; read by everyone.
///
/// Slots are made once, handed from thread to thread, and never freed, so that a thread needs no destructor to
/// hold one: there are as many as there ever were threads at one time.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Slot {
    /// Odd while the owner writes `sync_cpu`, `unsynced` and `current`.
    sequence: AtomicU32,
    /// The owner's thread id; 0 while nobody owns the slot.
    thread: AtomicI32,
    /// The id of the context that the owner is in.
    pub(super) current: AtomicU64,
    /// The owner's CPU clock when it last looked.
    pub(super) sync_cpu: AtomicU64,
    /// What was booked since then: by ticks, for the meter, or (a deficit) too much before.
    pub(super) unsynced: AtomicI64,
    sentinel: AtomicI64,
    sentinel_system: AtomicU64,
    meter: AtomicU64,
}

#[derive(Clone, Copy)]
pub(super) enum ThreadState {
    Untouched,
    Live(&'static Slot),
    /// The exit hook has run; all CPU up to `settled` is in the books.
    Ended {
        settled: u64,
    },
    /// The platform has no CPU clock for threads.
    NoClock,
    /// A driver's thread: who its CPU is charged to is said by whoever reads its clock. Contexts entered here are
    /// for log lines alone.
    Driver,
}

impl ThreadState {
    #[inline]
    pub(super) fn slot(self) -> Option<&'static Slot> {
        match self {
            Self::Live(slot) => Some(slot),
            _ => None,
        }
    }
}

impl Slot {
    #[inline]
    pub(super) fn begin_write(&self) {
        self.sequence.store(self.sequence.load(Relaxed).wrapping_add(1), Relaxed);
        fence(Release);
    }

    #[inline]
    pub(super) fn end_write(&self) {
        self.sequence.store(self.sequence.load(Relaxed).wrapping_add(1), Release);
    }

    /// All that the owner has booked so far.
    #[inline]
    pub(super) fn booked(&self) -> u64 {
        self.sync_cpu.load(Relaxed).saturating_add_signed(self.unsynced.load(Relaxed))
    }

    #[inline]
    pub(super) fn charge_sentinel(&self, nanos: i64, system: u64) {
        self.sentinel.store(self.sentinel.load(Relaxed) + nanos, Relaxed);
        if system > 0 {
            self.sentinel_system.store(self.sentinel_system.load(Relaxed) + system, Relaxed);
        }
    }

    pub(super) fn charge_meter(&self, nanos: u64) {
        self.meter.store(self.meter.load(Relaxed) + nanos, Relaxed);
    }

    /// What the owner has charged to nobody's context.
    #[cfg(test)]
    pub(super) fn own_parts(&self) -> i64 {
        self.sentinel.load(Relaxed) + self.meter.load(Relaxed).cast_signed()
    }

    /// Moves the slot's figures to those of ended threads and frees it. Returns the clock they are settled at.
    pub(super) fn retire(&'static self) -> u64 {
        let mut register = lock(&REGISTER);
        let settled = self.sync_cpu.load(Relaxed);
        register.ended.clock += settled;
        register.ended.meter += self.meter.load(Relaxed);
        // What is booked beyond the clock will not be worked off any more: the sentinel takes it back.
        register.ended.sentinel += self.sentinel.load(Relaxed) - self.unsynced.load(Relaxed);
        register.ended.sentinel_system += self.sentinel_system.load(Relaxed);
        self.thread.store(0, Relaxed);
        self.current.store(0, Relaxed);
        register.free.push(self);
        settled
    }

    /// The clock, the open slice and whose it is, all of one moment; `None` if the thread is gone.
    fn read(&self, clock: ThreadClock) -> Option<Open> {
        let mut tries = 0;
        while tries < 64 {
            let before = self.sequence.load(Acquire);
            if before.is_multiple_of(2) {
                let (booked, context) = (self.booked(), self.current.load(Relaxed));
                let clock = clock.read()?;
                fence(Acquire);
                if self.sequence.load(Relaxed) == before {
                    return Some(Open { context, clock, nanos: clock.cast_signed() - booked.cast_signed() });
                }
                tries += 1;
            } else {
                // It is writing, which takes nanoseconds; unless it has been preempted there.
                std::thread::yield_now();
                clock.read()?;
            }
        }
        // Its slices are shorter than our reading of a clock: the open one is whosever it is by now.
        let clock = clock.read()?;
        Some(Open { context: 0, clock, nanos: clock.cast_signed() - self.booked().cast_signed() })
    }
}

/// A thread's open slice, as another thread sees it.
#[derive(Clone, Copy, Debug)]
struct Open {
    context: u64,
    clock: u64,
    /// Negative while the thread works off what it booked too much.
    nanos: i64,
}

#[derive(Default)]
struct Ended {
    clock: u64,
    meter: u64,
    sentinel: i64,
    sentinel_system: u64,
}

#[derive(Default)]
struct Register {
    slots: Vec<&'static Slot>,
    free: Vec<&'static Slot>,
    ended: Ended,
    /// What was burned before the books began, with the first thread's first slice: by whom, nobody can tell. The
    /// loader is in it, and what the process was before an `exec`: `cargo run`, for one.
    before: Option<Before>,
}

/// Nanoseconds.
#[derive(Clone, Copy, Default)]
struct Before {
    /// By the first thread.
    thread: u64,
    /// By that one and by all that had ended.
    process: u64,
}

impl Before {
    fn now(thread: i32, cpu: u64) -> Self {
        let others = clock::thread_ids().into_iter().filter(|other| *other != thread);
        let others: u64 = others.filter_map(|other| ThreadClock::of(other).read()).sum();
        Self { thread: cpu, process: clock::process_cpu().unwrap_or(0).saturating_sub(others) }
    }
}

static REGISTER: Mutex<Register> = Mutex::new(Register {
    slots: Vec::new(),
    free: Vec::new(),
    ended: Ended { clock: 0, meter: 0, sentinel: 0, sentinel_system: 0 },
    before: None,
});

static NO_CLOCK: AtomicBool = AtomicBool::new(cfg!(any(not(target_os = "linux"), logcontext_no_cpu_clock)));

/// Does this platform have a CPU clock for threads?
#[inline]
pub(crate) fn cpu_is_measured() -> bool {
    !NO_CLOCK.load(Relaxed)
}

thread_local! {
    // Its drop is the thread's exit hook. Set once a thread has a slot.
    static EXIT: ExitHook = const { ExitHook(Cell::new(false)) };
}

struct ExitHook(Cell<bool>);

impl Drop for ExitHook {
    fn drop(&mut self) {
        super::end_thread();
    }
}

/// Gives the calling thread a slot. What it has burned so far was in no context: it is the sentinel's.
pub(super) fn register(context: u64) -> ThreadState {
    let Some(cpu) = clock::thread_cpu() else {
        NO_CLOCK.store(true, Relaxed);
        return ThreadState::NoClock;
    };
    if EXIT.try_with(|exit| exit.0.set(true)).is_err() {
        // First touched while its thread-locals are being destroyed: nobody will tell us of its end.
        charge_ended(&LogContext::sentinel(), cpu);
        return ThreadState::Ended { settled: cpu };
    }
    let thread = ThreadClock::current().id();
    let mut register = lock(&REGISTER);
    let mut sentinel = cpu;
    if register.before.is_none() {
        register.before = Some(Before::now(thread, cpu));
        sentinel = 0;
    }
    let slot = register.free.pop().unwrap_or_else(|| {
        let slot: &'static Slot = Box::leak(Box::default());
        register.slots.push(slot);
        slot
    });
    slot.begin_write();
    slot.sync_cpu.store(cpu, Relaxed);
    slot.unsynced.store(0, Relaxed);
    slot.current.store(context, Relaxed);
    slot.sentinel.store(sentinel.cast_signed(), Relaxed);
    slot.sentinel_system.store(0, Relaxed);
    slot.meter.store(0, Relaxed);
    slot.end_write();
    slot.thread.store(thread, Relaxed);
    ThreadState::Live(slot)
}

/// Books CPU of a thread whose exit hook has run: straight to the sums. Both sides of the books under one lock,
/// which readers may hold for a while.
pub(super) fn charge_ended(to: &LogContext, nanos: u64) {
    let mut register = lock(&REGISTER);
    register.ended.clock += nanos;
    match to.inner() {
        Some(inner) => inner.charge_cpu(nanos, 0),
        None => register.ended.sentinel += nanos.cast_signed(),
    }
}

/// What all threads say together. Nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    /// The CPU clocks of all threads that have ever entered a context, since the books began.
    pub(crate) known: u64,
    /// What the process had burned before that.
    pub(crate) before: u64,
    /// Charged to the sentinel.
    pub(crate) sentinel: i64,
    pub(crate) sentinel_system: u64,
    /// What measuring itself has cost.
    pub(crate) meter: u64,
    /// The slices that are open now, by the id of the context that they will be charged to; the sentinel's is 0.
    pub(crate) open: Vec<(u64, i64)>,
    /// The ids of the living threads among them.
    live: HashSet<i32>,
}

/// The threads that never entered a context.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Foreign {
    /// Their CPU clocks, in nanoseconds: those of the living.
    pub(crate) cpu: u64,
    pub(crate) threads: usize,
}

impl Threads {
    /// How much has happened between an earlier reading and this one: CPU burned, and CPU booked.
    pub(crate) fn moved_since(&self, earlier: &Self) -> u64 {
        let booked = |threads: &Self| {
            threads.known.cast_signed() - threads.open.iter().map(|(_, nanos)| nanos).sum::<i64>()
        };
        self.known.abs_diff(earlier.known).max(booked(self).abs_diff(booked(earlier)))
    }

    /// How many of them live.
    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// Reads the clocks of all other threads that the system lists.
    pub(crate) fn read_others(&self) -> Foreign {
        let mut foreign = Foreign::default();
        for thread in clock::thread_ids() {
            if !self.live.contains(&thread)
                && let Some(cpu) = ThreadClock::of(thread).read()
            {
                foreign.cpu += cpu;
                foreign.threads += 1;
            }
        }
        foreign
    }
}

/// Reads every thread's books. Stops nobody but threads that start or end meanwhile.
pub(crate) fn read_threads() -> Threads {
    let register = lock(&REGISTER);
    let before = register.before.unwrap_or_default();
    let mut threads = Threads {
        known: register.ended.clock,
        before: before.process,
        sentinel: register.ended.sentinel,
        sentinel_system: register.ended.sentinel_system,
        meter: register.ended.meter,
        ..Threads::default()
    };
    for slot in &register.slots {
        let thread = slot.thread.load(Relaxed);
        if thread == 0 {
            continue;
        }
        let clock = ThreadClock::of(thread);
        let Some(open) = slot.read(clock) else { continue };
        threads.live.insert(thread);
        threads.known += open.clock;
        threads.open.push((open.context, open.nanos));
        threads.sentinel += slot.sentinel.load(Relaxed);
        threads.sentinel_system += slot.sentinel_system.load(Relaxed);
        threads.meter += slot.meter.load(Relaxed);
    }
    threads.known = threads.known.saturating_sub(before.thread);
    threads
}

/// After `fork`, in the child: the other threads are not there any more, and the clocks have started anew.
pub(crate) fn after_fork() {
    // A thread that held the lock at the fork is gone with it; only the forking thread can be here.
    let mut register = lock(&REGISTER);
    register.ended = Ended::default();
    register.before = Some(Before::default());
    register.free = register.slots.clone();
    for slot in &register.slots {
        slot.thread.store(0, Relaxed);
    }
    drop(register);
    super::restart_thread();
}

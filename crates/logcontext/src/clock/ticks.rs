//! The tick counter. `quanta` finds out whether the processor's counter can be trusted and how fast it runs;
//! where it can, on x86, it is read and converted right here, which saves `quanta`'s case distinctions at every
//! switch. Elsewhere `quanta` does both.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Nanoseconds per tick, times 2^24; 0 until that is known, and where `quanta` is to be asked.
static NANOS_PER_TICK: AtomicU64 = AtomicU64::new(0);
const SHIFT: u32 = 24;
/// Differences below this are converted without overflow: more than a minute of ticks.
const SHORT: u64 = 1 << 38;

/// A reading of the tick counter.
#[inline]
pub(crate) fn ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    if NANOS_PER_TICK.load(Relaxed) != 0 {
        return processor();
    }
    quanta().raw()
}

/// The time between two readings, in nanoseconds; 0 if they are in the wrong order (readings of two
/// processors may differ by a hair).
#[inline]
pub(crate) fn nanos_between(from: u64, to: u64) -> u64 {
    let ticks = to.wrapping_sub(from);
    let rate = NANOS_PER_TICK.load(Relaxed);
    if ticks < SHORT && rate != 0 {
        return (ticks * rate) >> SHIFT;
    }
    // Far apart, or in the wrong order.
    quanta().delta_as_nanos(from, to)
}

fn quanta() -> &'static quanta::Clock {
    static CLOCK: OnceLock<quanta::Clock> = OnceLock::new();
    CLOCK.get_or_init(|| {
        let clock = quanta::Clock::new();
        #[cfg(target_arch = "x86_64")]
        {
            // `quanta` reads the same counter if its reading lies between two of ours.
            let (before, reading, after) = (processor(), clock.raw(), processor());
            let nanos = clock.delta_as_nanos(0, 1 << 40);
            // At less than 256 MHz the product above might overflow.
            if (before..=after).contains(&reading) && nanos < 1 << 42 {
                NANOS_PER_TICK.store(nanos >> (40 - SHIFT), Relaxed);
            }
        }
        clock
    })
}

#[cfg(target_arch = "x86_64")]
#[inline]
#[allow(unsafe_code, reason = "the processor's tick counter")]
fn processor() -> u64 {
    // SAFETY: every x86-64 processor has the instruction, and no system that Rust runs on forbids it.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_go_forward_and_a_pair_in_the_wrong_order_is_nothing() {
        let a = ticks();
        std::thread::yield_now();
        let b = ticks();
        assert!(b >= a);
        assert_eq!(nanos_between(b + 1_000_000, b), 0);
    }

    #[test]
    fn our_conversion_is_quantas_near_and_far() {
        let start = ticks();
        for distance in [0, 1, 1_000, 1 << 20, 1 << 37, 1 << 39, 1 << 50] {
            let (ours, theirs) =
                (nanos_between(start, start + distance), quanta().delta_as_nanos(start, start + distance));
            assert!(ours.abs_diff(theirs) <= 1 + theirs / 1_000_000, "{distance}: {ours} {theirs}");
        }
    }
}

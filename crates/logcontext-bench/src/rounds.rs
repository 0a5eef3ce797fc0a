//! Measuring several things in turn.

use std::time::Instant;

use crate::cpu::process_nanos;
use crate::stats::Samples;

/// Runs each of these for so many repetitions, one after the other, and all of it so many times. Answers the
/// nanoseconds per repetition: samples with the same index were taken right after each other.
///
/// Keep rounds short (some tens of microseconds): most of them are then not interrupted, and the median does
/// not see the others.
pub(crate) fn in_turn<const N: usize>(
    rounds: usize,
    repetitions: u32,
    candidates: [&mut dyn FnMut(u32); N],
) -> [Samples; N] {
    let start = Instant::now();
    in_turn_by(|| start.elapsed().as_nanos() as u64, rounds, repetitions, candidates)
}

/// The same by the CPU time of this process, all threads together: for what waits, or works on other threads.
pub(crate) fn in_turn_by_cpu<const N: usize>(
    rounds: usize,
    repetitions: u32,
    candidates: [&mut dyn FnMut(u32); N],
) -> [Samples; N] {
    in_turn_by(process_nanos, rounds, repetitions, candidates)
}

fn in_turn_by<const N: usize>(
    now: impl Fn() -> u64,
    rounds: usize,
    repetitions: u32,
    mut candidates: [&mut dyn FnMut(u32); N],
) -> [Samples; N] {
    let mut samples = [const { Vec::new() }; N];
    // One round to get warm, then those that count.
    for round in 0..=rounds {
        for (candidate, samples) in candidates.iter_mut().zip(&mut samples) {
            let start = now();
            candidate(repetitions);
            let nanos = (now() - start) as f64;
            if round > 0 {
                samples.push(nanos / f64::from(repetitions));
            }
        }
    }
    samples.map(|samples| samples.into_iter().collect())
}

//! Random numbers for ids: cheap, well spread, of no use for secrets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::clock;

thread_local! {
    static STATE: Cell<Option<[u64; 2]>> = const { Cell::new(None) };
}

/// Three numbers, none of them zero.
pub(super) fn numbers() -> [u64; 3] {
    let [a, b] = STATE.get().unwrap_or_else(seed);
    let (a, b) = (a.wrapping_add(0x9e37_79b9_7f4a_7c15), b.wrapping_add(0xd1b5_4a32_d192_ed03));
    STATE.set(Some([a, b]));
    // The time makes two processes differ that are copies of one, after a fork.
    let ticks = clock::ticks();
    [a ^ ticks, b ^ ticks.rotate_left(32), a.rotate_left(32) ^ b ^ ticks].map(|number| spread(number).max(1))
}

#[cold]
fn seed() -> [u64; 2] {
    // The standard library's random keys, different for each thread.
    let keys = RandomState::new();
    [keys.hash_one(1_u64), keys.hash_one(2_u64)]
}

/// Each bit of the number changes half of the result's: the finalizer of SplitMix64.
fn spread(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_is_set_half_of_the_time() {
        let numbers: Vec<_> = (0..3_000).flat_map(|_| numbers()).collect();
        for bit in 0..64 {
            let set = numbers.iter().filter(|number| *number >> bit & 1 == 1).count();
            // 4,500 of 9,000, give or take ten standard deviations
            assert!((4_025..4_975).contains(&set), "bit {bit}: {set} of 9000");
        }
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let here = (0..100).map(|_| numbers()[0]);
        #[expect(clippy::disallowed_methods, reason = "a thread without a context")]
        let there = std::thread::spawn(|| (0..100).map(|_| numbers()[0]).collect::<Vec<_>>());
        let there = there.join().unwrap();
        assert!(here.into_iter().all(|number| !there.contains(&number)));
    }
}

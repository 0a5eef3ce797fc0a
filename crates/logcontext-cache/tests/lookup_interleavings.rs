//! Who asks, goes, invalidates, and what lands meanwhile, in every order in which threads can run.
//!
//! The part with the synchronisation is built here once more, from the same files, with loom's locks in place of the
//! system's.
#![allow(dead_code, unreachable_pub, reason = "not all of it is used here")]

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/count.rs"]
mod count;
#[path = "../src/figures.rs"]
mod figures;
#[path = "interleavings/lookup.rs"]
mod lookup;
#[path = "../src/store.rs"]
mod store;
#[path = "interleavings/sync.rs"]
mod sync;

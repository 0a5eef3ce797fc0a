//! The locks of the queues. The tests of interleavings put loom's in their place.

pub(super) use std::sync::atomic::AtomicBool;
pub(super) use std::sync::{Mutex, MutexGuard};

pub(super) use crate::sync::lock;

//! [`Health`]: what a pool has learnt about its connections, so that one that died tells about the others.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Connections are numbered by when they were opened or last found alive: those of one generation have seen the same.
#[derive(Debug)]
pub(crate) struct Health {
    generation: AtomicU64,
    /// Of this generation and those before it, all are dead.
    dead: AtomicU64,
}

/// What is known of a connection before it is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Alive,
    /// Another one was lost meanwhile: ask.
    Doubtful,
    /// Another one did not answer: neither will this one, and asking would take its time.
    Dead,
}

impl Default for Health {
    fn default() -> Self {
        Self { generation: AtomicU64::new(1), dead: AtomicU64::new(0) }
    }
}

impl Health {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    pub(super) fn verdict(&self, generation: u64) -> Verdict {
        if generation <= self.dead.load(Relaxed) {
            Verdict::Dead
        } else if generation == self.generation() {
            Verdict::Alive
        } else {
            Verdict::Doubtful
        }
    }

    /// A connection was found dead: the others may be as well.
    pub(super) fn doubt(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    /// A connection was silent for so long that nobody waits for the others to be so, too.
    pub(super) fn condemn(&self) {
        let generation = self.generation.fetch_add(1, Relaxed);
        self.dead.fetch_max(generation, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_opened_after_a_loss_is_not_doubted() {
        let health = Health::default();
        let before = health.generation();
        assert_eq!(health.verdict(before), Verdict::Alive);
        health.doubt();
        assert_eq!(health.verdict(before), Verdict::Doubtful);
        assert_eq!(health.verdict(health.generation()), Verdict::Alive);
        health.condemn();
        assert_eq!(health.verdict(before), Verdict::Dead);
        assert_eq!(health.verdict(health.generation()), Verdict::Alive);
    }
}

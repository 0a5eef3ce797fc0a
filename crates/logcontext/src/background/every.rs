//! Looping calls.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::context::LogContext;
use crate::future::FutureExt;
use crate::outcome::Outcome;
use crate::spawn::{Background, Belongs, start};
use crate::supervisor::Supervisor;

/// When the first round of a loop runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum First {
    /// After one period.
    #[default]
    AfterPeriod,
    /// At once.
    Now,
    /// After so long.
    After(Duration),
}

/// A background process that runs every so often, in the making: see [`every`].
#[derive(Debug)]
#[must_use = "a loop starts with `run`"]
pub struct Every {
    name: Box<str>,
    period: Duration,
    first: First,
    jitter: Duration,
    supervisor: Supervisor,
    origin: &'static Location<'static>,
}

/// Runs something every period, as a background process of this name: each round in a context of its own.
///
/// Rounds do not overlap: the next starts a period after the last one was due, or as soon as that has ended. A
/// round that fails or panics is reported, and the next one comes. The loop ends when the supervisor shuts
/// down, which waits for the round that is running. Synapse: `looping_call`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use logcontext::background::{self, First};
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
/// use std::time::Duration;
///
/// static ROUNDS: AtomicU32 = AtomicU32::new(0);
/// let pruning = background::every("prune_cache", Duration::from_secs(60))
///     .first(First::Now)
///     .run(|| async { ROUNDS.fetch_add(1, Relaxed) });
/// tokio::time::sleep(Duration::from_secs(125)).await;
/// assert_eq!(ROUNDS.load(Relaxed), 3);
/// pruning.abort();
/// # }
/// ```
#[track_caller]
#[doc(alias = "looping_call")]
pub fn every(name: &str, period: Duration) -> Every {
    Every {
        name: name.into(),
        // A loop without a pause would be one that nobody else gets a turn beside.
        period: period.max(Duration::from_millis(1)),
        first: First::default(),
        jitter: Duration::ZERO,
        supervisor: Supervisor::current(),
        origin: Location::caller(),
    }
}

impl Every {
    /// When the first round runs: after one period unless told otherwise.
    pub fn first(mut self, first: First) -> Self {
        self.first = first;
        self
    }

    /// Starts each round up to so much later than it is due, by chance, so that loops do not march in step.
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Starts the loop. Aborting the handle ends it, and leaves a round that is running to its end.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run<F, Fut>(self, round: F) -> Background<()>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Outcome + Send + 'static,
    {
        let (supervisor, origin) = (self.supervisor.clone(), self.origin);
        if supervisor.running_list().is_stopping() {
            return Background::refused(LogContext::sentinel());
        }
        let name = Arc::from(&*self.name);
        // Waiting for the clock is nobody's work: the loop is in the sentinel on purpose, its rounds are not.
        let waiting = self.wait_and_run(Arc::new(round)).in_context(LogContext::sentinel());
        start(&supervisor, LogContext::sentinel(), Some(name), Belongs::ToCaller, origin, waiting)
    }

    async fn wait_and_run<F, Fut>(self, round: Arc<F>)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future + Send + 'static,
        Fut::Output: Outcome + Send + 'static,
    {
        let stop = self.supervisor.shutting_down();
        tokio::pin!(stop);
        let mut due = Instant::now()
            + match self.first {
                First::AfterPeriod => self.period,
                First::Now => Duration::ZERO,
                First::After(delay) => delay,
            };
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = sleep_until(due + random_part(self.jitter)) => {}
            }
            if self.supervisor.is_shutting_down() {
                return;
            }
            let round = Arc::clone(&round);
            // The closure runs inside the process too: its panic is the round's.
            let process =
                super::run_from(&self.supervisor, &self.name, self.origin, async move { round().await });
            let _ = process.await;
            due = (due + self.period).max(Instant::now());
        }
    }
}

/// Something between nothing and all of it.
fn random_part(whole: Duration) -> Duration {
    if whole.is_zero() {
        return whole;
    }
    // The standard library's hasher is keyed at random.
    let random = RandomState::new().hash_one(0) >> 11;
    whole.mul_f64(random as f64 / (1_u64 << 53) as f64)
}

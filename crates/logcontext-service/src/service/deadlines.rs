//! How the time to shut down is shared out.

use std::time::Duration;

use tokio::time::Instant;

/// What share of it is the requests', and then that of what runs in the background; the rest is for closing the
/// datastore.
const FOR_REQUESTS: f64 = 0.9;
const FOR_BACKGROUND: f64 = 0.95;

pub(super) struct Deadlines {
    told: Instant,
    whole: Duration,
}

impl Deadlines {
    /// How long requests may take.
    pub(super) fn for_requests(whole: Duration) -> Duration {
        share(whole, FOR_REQUESTS)
    }

    pub(super) fn from_now(whole: Duration) -> Self {
        Self { told: Instant::now(), whole }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.told.elapsed()
    }

    /// How long what runs in the background may take from now on.
    pub(super) fn rest_for_background(&self) -> Duration {
        share(self.whole, FOR_BACKGROUND).saturating_sub(self.elapsed())
    }

    /// What is left.
    pub(super) fn rest(&self) -> Duration {
        self.whole.saturating_sub(self.elapsed())
    }
}

/// Of all the time that there is, too.
fn share(whole: Duration, share: f64) -> Duration {
    Duration::try_from_secs_f64(whole.as_secs_f64() * share).unwrap_or(whole)
}

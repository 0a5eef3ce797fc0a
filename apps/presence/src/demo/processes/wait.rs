//! Waiting for what another process does: there is nothing to be woken by.

use std::time::Duration;

use tokio::time::{Instant, sleep};

const BETWEEN: Duration = Duration::from_millis(20);

/// Looks until there is something, for so long at most.
///
/// # Errors
/// What looking fails with.
pub(super) async fn until<T>(
    patience: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let end = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(Some(found));
        }
        if Instant::now() >= end {
            return Ok(None);
        }
        sleep(BETWEEN).await;
    }
}

//! What has to be done, however long the database is away.

use std::fmt;
use std::time::Duration;

use logcontext_db::Error;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The shard is not ours any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Does it again until the database does it.
///
/// # Errors
/// If the shard is stopped before.
pub(super) async fn persistently<T, Fut>(
    stop: &CancellationToken,
    mut work: impl FnMut() -> Fut,
) -> Result<T, Stopped>
where
    Fut: Future<Output = Result<T, Error>>,
{
    let trying = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match work().await {
                Ok(done) => return done,
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    tracing::warn!(error = format_args!("{error:#}"), "database unavailable: trying again");
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    stop.run_until_cancelled(trying).await.ok_or(Stopped)
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shard is another process's, or this one ends")
    }
}

impl std::error::Error for Stopped {}

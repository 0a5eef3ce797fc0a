//! Holding a connection for as long as a test wants to.

use std::future::Future;
use std::time::Instant;

use logcontext::{Background, LogContext};
use logcontext_db::{Database, Error};
use tokio::sync::oneshot;

use super::DEADLINE;

/// An interaction that has a connection, and keeps it until it is told to end.
pub(crate) struct Hold {
    pub(crate) since: Instant,
    release: oneshot::Sender<()>,
    task: Background<Result<(), Error>>,
}

impl Hold {
    pub(crate) async fn begin(db: &Database, context: &LogContext) -> Self {
        let (tell, told) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let (db, mut channels) = (db.clone(), Some((tell, released)));
        let task = context.run_in_background(async move {
            let hold = db.run_interaction("hold", move |mut txn| {
                let channels = channels.take();
                async move {
                    txn.query("SELECT 1", ()).await?;
                    if let Some((tell, released)) = channels {
                        let _ = tell.send(Instant::now());
                        let _ = released.await;
                    }
                    Ok(())
                }
            });
            hold.await
        });
        let since =
            tokio::time::timeout(DEADLINE, told).await.expect("in time").expect("a connection to hold");
        Self { since, release, task }
    }

    /// Goes away in the middle of it.
    pub(crate) async fn abort(self) {
        self.task.abort();
        assert!(self.task.await.is_err());
    }

    /// Gives it back, and waits until that is done.
    pub(crate) async fn end(self) -> Result<(), Error> {
        let _ = self.release.send(());
        let ended = tokio::time::timeout(DEADLINE, self.task).await.expect("it ends");
        ended.expect("it does not panic")
    }
}

/// As [`Background`], but it does not report what fails: whoever waits for it looks at that.
pub(crate) fn run<T: Send + 'static>(
    context: &LogContext,
    future: impl Future<Output = T> + Send + 'static,
) -> Background<Vec<T>> {
    context.run_in_background(async { vec![future.await] })
}

/// What became of it.
pub(crate) async fn outcome<T>(running: Background<Vec<T>>) -> T {
    let running = tokio::time::timeout(DEADLINE, running).await.expect("it ends");
    running.expect("neither panicked nor aborted").pop().expect("put there by `run`")
}

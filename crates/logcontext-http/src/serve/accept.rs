//! Accepting, and going on when that fails.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::time::Duration;

use super::Listener;
use crate::connection::ConnectionInfo;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The next connection. Where the process is out of something, files for one, it waits until there may be some
/// again, each time longer.
pub(super) async fn next<L: Listener>(listener: &mut L) -> (L::Stream, ConnectionInfo) {
    let mut pause = FIRST_PAUSE;
    loop {
        match poll_fn(|cx| listener.poll_accept(cx)).await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_client(&error) => {
                tracing::debug!(target: "logcontext::http", %error, "client left before it was accepted");
            }
            Err(error) => {
                tracing::warn!(target: "logcontext::http", %error, again_in = ?pause, "cannot accept connections");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll};

    use logcontext::testing;
    use tokio::io::DuplexStream;
    use tokio::time::Instant;
    use tracing::Level;

    use super::*;

    /// Fails with these, then gives a connection.
    struct Failing(Vec<ErrorKind>);

    impl Listener for Failing {
        type Stream = DuplexStream;

        fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(DuplexStream, ConnectionInfo)>> {
            Poll::Ready(match self.0.pop() {
                Some(kind) => Err(kind.into()),
                None => Ok((tokio::io::duplex(1).0, ConnectionInfo::unix())),
            })
        }
    }

    #[test]
    fn a_client_that_leaves_before_it_is_accepted_delays_nobody() {
        let test = testing::start();
        let mut source = Failing(vec![ErrorKind::ConnectionAborted; 100]);
        test.current_thread().block_on(async {
            tokio::time::pause();
            let start = Instant::now();
            next(&mut source).await;
            assert_eq!(start.elapsed(), Duration::ZERO);
        });
        assert!(test.records().iter().all(|record| record.level == Level::DEBUG));
    }

    #[test]
    fn out_of_files_it_waits_longer_each_time_says_so_and_goes_on() {
        let test = testing::start();
        let mut source = Failing(vec![ErrorKind::Other; 9]);
        test.current_thread().block_on(async {
            tokio::time::pause();
            let start = Instant::now();
            next(&mut source).await;
            // 10, 20, .. 640 ms, then a second each; the timer rounds each up to its next tick
            let waited = start.elapsed().as_millis();
            assert!((3_270..3_280).contains(&waited), "{waited} ms");
        });
        assert_eq!(test.records_at(Level::WARN).len(), 9);
    }
}

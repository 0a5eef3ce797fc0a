//! What ends the service from outside.

use std::io;

use tokio::sync::oneshot;

/// The signals that end the service: Ctrl-C, and SIGTERM where that exists.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

/// A signal that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its name.
    pub name: &'static str,
    /// Its number.
    pub number: u8,
}

const INTERRUPT: Received = Received { name: "SIGINT", number: 2 };

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system refuses it.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next one.
    #[cfg(unix)]
    pub async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPT,
            _ = self.terminate.recv() => Received { name: "SIGTERM", number: 15 },
        }
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// If the system refuses it.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next one.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> Received {
        match tokio::signal::ctrl_c().await {
            Ok(()) => INTERRUPT,
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops the service at the first signal; completes at the second, which cuts the shutdown short.
    pub async fn stop_then_cut_short(mut self, stop: oneshot::Sender<()>) -> Received {
        let first = self.next().await;
        tracing::info!(signal = first.name, "shutting down; a second signal cuts that short");
        // Nobody listens any more if the service has ended by itself.
        let _ = stop.send(());
        let second = self.next().await;
        tracing::warn!(signal = second.name, "shutdown cut short");
        second
    }
}

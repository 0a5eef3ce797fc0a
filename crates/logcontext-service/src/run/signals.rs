//! What is said to the server from outside.

use std::io;

/// Signals, from now on.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// To end: SIGINT, as by Ctrl-C, or SIGTERM.
    End(Ending),
    /// To read again, and open again, what can be: SIGHUP.
    Reload,
}

/// A signal to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) name: &'static str,
    pub(super) number: u8,
}

const INTERRUPT: Signal = Signal::End(Ending { name: "SIGINT", number: 2 });
#[cfg(unix)]
const TERMINATE: Signal = Signal::End(Ending { name: "SIGTERM", number: 15 });

impl Signals {
    /// # Errors
    /// If the system refuses it.
    #[cfg(unix)]
    pub(super) fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => INTERRUPT,
            _ = self.terminate.recv() => TERMINATE,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }

    /// # Errors
    /// If the system refuses it.
    #[cfg(not(unix))]
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    #[cfg(not(unix))]
    pub(super) async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => INTERRUPT,
            Err(_) => std::future::pending().await,
        }
    }

    /// The next one that asks to end; what others ask for is done by `reload`.
    pub(super) async fn next_to_end(&mut self, mut reload: impl FnMut()) -> Ending {
        loop {
            match self.next().await {
                Signal::End(ending) => return ending,
                Signal::Reload => reload(),
            }
        }
    }
}

//! A listener that has been started.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

use super::shared::Control;

/// How a listener is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ListenerState {
    /// It listens.
    Listening,
    /// It takes no more, and what it has begun comes to its end.
    Stopping(StopReason),
    /// It has ended.
    Stopped(StopReason),
}

/// Why a listener stops.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It was [asked](Listener::stop) to.
    Asked,
    /// The service is shutting down.
    ShuttingDown,
    /// A handler has failed, with this, and [`OnError`](super::OnError) said so.
    Failed(Arc<str>),
    /// The bus was closed, or its broker takes no more part.
    Closed,
    /// It was ended before it was done: at the deadline of a shutdown, or with its runtime. What it had not done is left
    /// for others.
    Aborted,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("was asked to stop"),
            Self::ShuttingDown => f.write_str("the service is shutting down"),
            Self::Failed(why) => write!(f, "a handler failed: {why}"),
            Self::Closed => f.write_str("the bus was closed"),
            Self::Aborted => f.write_str("was aborted"),
        }
    }
}

/// A listener that has been started. It goes on when this is dropped, until the service shuts down.
#[derive(Clone)]
pub struct Listener {
    pub(super) event: &'static str,
    pub(super) name: Arc<str>,
    pub(super) group: Arc<str>,
    pub(super) control: Arc<Control>,
    pub(super) state: watch::Receiver<ListenerState>,
}

impl Listener {
    /// The event it listens to.
    pub fn event(&self) -> &'static str {
        self.event
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its group: all listeners of this name, of all instances of the service. Each event goes to one of them.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// How it is doing.
    pub fn state(&self) -> ListenerState {
        self.state.borrow().clone()
    }

    /// Tells it to take no more. What it has begun comes to its end; what it has not begun is left for others at once.
    pub fn stop(&self) {
        self.control.stop.cancel();
    }

    /// Completes when it has ended, with the reason: nothing of it runs any more, and the broker has been told what is
    /// done.
    pub async fn stopped(&self) -> StopReason {
        let mut state = self.state.clone();
        let ended = |state: &ListenerState| matches!(state, ListenerState::Stopped(_));
        let last = state.wait_for(ended).await.map(|state| state.clone());
        match last {
            Ok(ListenerState::Stopped(why)) => why,
            // Nobody is left who could say so.
            _ => StopReason::Aborted,
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("event", &self.event)
            .field("name", &self.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

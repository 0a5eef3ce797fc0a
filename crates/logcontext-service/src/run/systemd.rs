//! What a service manager hears: systemd, by the socket that it names in `NOTIFY_SOCKET`. Elsewhere nobody does.

use sd_notify::NotifyState;

/// The server answers.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It has begun to end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("shutting down")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

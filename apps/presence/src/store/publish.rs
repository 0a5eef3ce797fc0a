//! Telling others by the bus: what has changed is stored with the change, and sent from there.

use std::time::Duration;

use logcontext_bus::{Bus, FireInError, Outbox, OutboxConfig, OutboxError};
use logcontext_db::{Error, Txn, sqlx};

use super::Store;
use crate::bus::PresenceChanged;
use crate::presence::Presence;
use crate::user::UserId;

/// Where changes go to.
#[derive(Debug)]
pub(super) struct Publisher {
    bus: Bus,
    _outbox: Outbox,
}

impl Store {
    /// Tells this bus of all changes from now on, and of those that were stored and not sent when the service last ended. The
    /// first one counts. Of all processes one sends, and another `takeover` after that has died, at least 100 ms.
    ///
    /// # Errors
    /// The database's.
    pub async fn publish_by(&self, bus: &Bus, takeover: Duration) -> Result<(), OutboxError> {
        let lease = takeover.clamp(Duration::from_millis(100), Duration::from_secs(3600));
        let config = OutboxConfig { lease, ..OutboxConfig::default() };
        let outbox = Outbox::open_with(bus, &self.database, config).await?;
        let _ = self.publisher.set(Publisher { bus: bus.clone(), _outbox: outbox });
        Ok(())
    }

    /// Somebody's presence is this, if the transaction goes through. To be called when the row is ours: changes of one user
    /// are told in the order in which they were made.
    pub(super) async fn publish(&self, txn: &mut Txn, user: &UserId, now: &Presence) -> Result<(), Error> {
        let Some(publisher) = self.publisher.get() else { return Ok(()) };
        let changed = PresenceChanged::new(user.clone(), now.clone());
        publisher.bus.fire_in(txn, &changed).await.map_err(|error| match error {
            FireInError::Database(error) => error,
            error => Error::Database(sqlx::Error::Encode(error.into())),
        })
    }
}

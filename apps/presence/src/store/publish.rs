//! Telling others by the bus: what has changed is stored with the change, and sent from there.

use logcontext_bus::{Bus, FireInError, Outbox, OutboxError};
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
    /// first one counts.
    ///
    /// # Errors
    /// The database's.
    pub async fn publish_by(&self, bus: &Bus) -> Result<(), OutboxError> {
        let outbox = Outbox::open(bus, &self.database).await?;
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

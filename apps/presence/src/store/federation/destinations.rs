//! How far each hub was told.

use logcontext_db::{Error, Row};

use super::super::{Store, row};
use crate::federation::HubName;
use crate::time::Timestamp;
use crate::user::UserId;

/// A place in all that has changed: after that time, and of that time after the user of that name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// What has changed before it is before the place.
    pub at: Timestamp,
    /// `None`: before everybody who has changed at that time.
    pub user: Option<UserId>,
}

/// How far a hub was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Where it has to catch up from; `None` if it has been told everything that was acknowledged.
    pub behind: Option<Position>,
    /// So many tries in a row have failed.
    pub failures: u32,
    /// When to try again.
    pub retry_at: Timestamp,
}

const GET: &str = "
SELECT follows_all, position_at, position_user, failures, retry_at FROM destinations WHERE hub = $1";
const ADD: &str = "
INSERT INTO destinations (hub, follows_all, position_at) VALUES ($1, $2, 0)
ON CONFLICT (hub) DO UPDATE SET follows_all = excluded.follows_all, position_at = 0, position_user = ''";
const TELL_SOME: &str = "UPDATE destinations SET follows_all = FALSE WHERE hub = $1";
const ALL: &str = "SELECT hub FROM destinations";
const FORGET: &str = "DELETE FROM destinations WHERE hub = $1";
const FALL_BEHIND: &str = "
UPDATE destinations SET position_at = $2, position_user = $3, failures = $4, retry_at = $5 WHERE hub = $1";
const MOVE: &str = "UPDATE destinations SET position_at = $2, position_user = $3 WHERE hub = $1";
const CATCH_UP: &str = "
UPDATE destinations SET position_at = NULL, position_user = '', failures = 0, retry_at = 0 WHERE hub = $1";

impl Position {
    /// Before everything.
    pub const START: Self = Self { at: Timestamp::from_millis(0), user: None };

    /// Before all that has changed at that time.
    pub fn before(at: Timestamp) -> Self {
        Self { at, user: None }
    }

    /// Whether what has changed at that time, or later, comes after it.
    pub fn is_before(&self, changed_at: Timestamp) -> bool {
        self.at < changed_at || (self.at == changed_at && self.user.is_none())
    }

    /// The name; no user has the empty one.
    pub(super) fn user_name(&self) -> &str {
        self.user.as_ref().map_or("", UserId::as_str)
    }
}

impl Store {
    /// How far a hub was told. One that is new is behind with everything, and so is one that is told of everybody from now
    /// on.
    ///
    /// # Errors
    /// The database's.
    pub async fn destination(&self, hub: &HubName, follows_all: bool) -> Result<Destination, Error> {
        self.database
            .run_interaction("get_destination", |mut txn| async move {
                let known = txn.query_optional(GET, (hub.as_str(),)).await?;
                if let Some(known) = &known {
                    let was_told_all: bool = known.get("follows_all")?;
                    if was_told_all && !follows_all {
                        txn.execute(TELL_SOME, (hub.as_str(),)).await?;
                    }
                    if was_told_all || !follows_all {
                        return destination(known);
                    }
                }
                txn.execute(ADD, (hub.as_str(), follows_all)).await?;
                destination(&txn.query_one(GET, (hub.as_str(),)).await?)
            })
            .await
    }

    /// All hubs of which it is known.
    ///
    /// # Errors
    /// The database's.
    pub async fn destinations(&self) -> Result<Vec<HubName>, Error> {
        let rows = self.database.query("get_destinations", ALL, ()).await?;
        let name =
            |row: &Row| row.get::<String>("hub")?.parse().map_err(|error| row::unexpected("hub", error));
        rows.iter().map(name).collect()
    }

    /// How far a hub was told is not known any more.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget_destination(&self, hub: &HubName) -> Result<(), Error> {
        self.database.execute("forget_destination", FORGET, (hub.as_str().to_owned(),)).await?;
        Ok(())
    }

    /// A hub is behind from there on: it could not be told.
    ///
    /// # Errors
    /// The database's.
    pub async fn fall_behind(
        &self,
        hub: &HubName,
        position: &Position,
        failures: u32,
        retry_at: Timestamp,
    ) -> Result<(), Error> {
        let parameters = (
            hub.as_str().to_owned(),
            position.at.as_millis(),
            position.user_name().to_owned(),
            i64::from(failures),
            retry_at.as_millis(),
        );
        self.database.execute("fall_behind", FALL_BEHIND, parameters).await?;
        Ok(())
    }

    /// A hub that is behind has to catch up from there.
    ///
    /// # Errors
    /// The database's.
    pub async fn move_position(&self, hub: &HubName, position: &Position) -> Result<(), Error> {
        let parameters = (hub.as_str().to_owned(), position.at.as_millis(), position.user_name().to_owned());
        self.database.execute("move_position", MOVE, parameters).await?;
        Ok(())
    }

    /// A hub has caught up.
    ///
    /// # Errors
    /// The database's.
    pub async fn caught_up(&self, hub: &HubName) -> Result<(), Error> {
        self.database.execute("caught_up", CATCH_UP, (hub.as_str().to_owned(),)).await?;
        Ok(())
    }
}

fn destination(row: &Row) -> Result<Destination, Error> {
    let at: Option<i64> = row.get("position_at")?;
    let user: String = row.get("position_user")?;
    let user = if user.is_empty() { None } else { Some(row::user_of(user, "position_user")?) };
    let failures: i64 = row.get("failures")?;
    Ok(Destination {
        behind: at.map(|at| Position { at: Timestamp::from_millis(at), user }),
        failures: u32::try_from(failures.max(0)).unwrap_or(u32::MAX),
        retry_at: Timestamp::from_millis(row.get("retry_at")?),
    })
}

//! Whether what a hub knows of another is what that one knows itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::federation::HubName;
use crate::presence::State;
use crate::store::Store;
use crate::user::UserId;

/// Two hubs' stores: `one`'s users are compared with what `two` knows of them.
pub(super) struct Copies<'a> {
    pub(super) one: &'a Store,
    pub(super) two: &'a Store,
    /// What the second calls the first.
    pub(super) hub: HubName,
    pub(super) users: &'a [UserId],
}

/// Between two looks.
const BETWEEN: Duration = Duration::from_millis(50);

impl Copies<'_> {
    /// The users of whom the second hub knows something else than the first, row by row: their states, what they say,
    /// when they last did something, and the revision.
    pub(super) async fn differences(&self) -> anyhow::Result<Vec<UserId>> {
        let mut differences = Vec::new();
        for user in self.users {
            let there = self.two.remote_presence(&self.hub, user).await?;
            if self.one.presence(user).await? != there {
                differences.push(user.clone());
            }
        }
        Ok(differences)
    }

    /// Waits until all have timed out in the first hub, for so long at most: from then on nothing changes.
    pub(super) async fn all_offline(&self, patience: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        for user in self.users {
            while began.elapsed() < patience {
                let state = self.one.presence(user).await?.map(|presence| presence.state);
                if state.is_none_or(|state| state == State::Offline) {
                    break;
                }
                sleep(BETWEEN).await;
            }
        }
        Ok(())
    }

    /// Looks until there is none, for so long at most. Answers how long that took, and those that are left.
    pub(super) async fn settle(&self, patience: Duration) -> anyhow::Result<(Duration, Vec<UserId>)> {
        let began = Instant::now();
        loop {
            let differences = self.differences().await?;
            if differences.is_empty() || began.elapsed() >= patience {
                return Ok((began.elapsed(), differences));
            }
            sleep(BETWEEN).await;
        }
    }
}

//! Whether what was acknowledged is there: by the hubs' databases, past all that processes remember.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context as _;
use logcontext::{FutureExt, Supervisor};
use logcontext_service::config::DatabaseUrl;

use super::changes::{Changed, number};
use super::hubs;
use super::report::Copied;
use crate::demo::copies::Copies;
use crate::store::{Limits, Store};
use crate::user::UserId;

/// How long the last changes may take to the second hub: a destination that could not be reached is tried again after
/// two seconds at most, and what a killed process had is taken over after three.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the databases may take to close.
const CLOSING: Duration = Duration::from_secs(5);

/// The hubs' databases, opened beside their processes.
pub(super) struct Databases {
    one: Store,
    two: Store,
}

impl Databases {
    pub(super) async fn open(one: &DatabaseUrl, two: &DatabaseUrl) -> anyhow::Result<Self> {
        // Nothing is set here, and so nothing is remembered. Each is under a supervisor of its own, as two services are.
        let open = async |url, hub: &str| {
            let opening = Supervisor::new(hub).context("open").start();
            let store = Store::open(url, &Limits::default()).in_context(opening.clone()).await;
            opening.finish();
            store.with_context(|| format!("cannot open the database of hub {hub}"))
        };
        Ok(Self { one: open(one, hubs::ONE).await?, two: open(two, hubs::TWO).await? })
    }

    /// How many of the acknowledged changes are not in the first hub's history.
    pub(super) async fn lost(&self, changed: &[Changed]) -> anyhow::Result<u64> {
        let mut lost = 0;
        for Changed { user, acknowledged, .. } in changed {
            let there = self.changes_of(user).await?;
            lost += acknowledged.iter().filter(|n| !there.contains(n)).count() as u64;
        }
        Ok(lost)
    }

    async fn changes_of(&self, user: &UserId) -> anyhow::Result<HashSet<u64>> {
        let (mut there, mut before) = (HashSet::new(), None);
        loop {
            let page = self.one.history(user, 100, before).await?.unwrap_or_default();
            let Some(last) = page.last() else { return Ok(there) };
            before = Some(last.id);
            there.extend(page.iter().filter_map(|entry| number(entry.status_msg.as_ref()?.as_str())));
        }
    }

    /// Waits until the second hub has the first one's latest states of all these users.
    pub(super) async fn copied(&self, users: &[UserId]) -> anyhow::Result<Copied> {
        let hub = hubs::ONE.parse()?;
        let copies = Copies { one: &self.one, two: &self.two, hub, users };
        let (settled, different) = copies.settle(PATIENCE).await?;
        let totals = self.two.received_totals(&copies.hub).await?;
        Ok(Copied {
            users: users.len(),
            different: different.len(),
            settled,
            transactions: totals.transactions,
            states: totals.accepted,
            stale: totals.stale,
        })
    }

    pub(super) async fn close(self) {
        self.one.close(CLOSING).await;
        self.two.close(CLOSING).await;
    }
}

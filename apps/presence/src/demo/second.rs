//! [`SecondHub`]: the hub that the first one tells of its users.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::bail;
use logcontext::{ContextKind, FutureExt, Supervisor};
use logcontext_service::config::{DatabaseUrl, PositiveTime, Secret};
use logcontext_service::{ListenAddress, ListenerSettings, Service, Settings, Stopped};
use serde::Serialize;

use super::copies::Copies;
use super::report::{Work, lost_in, rows, seconds};
use crate::federation::{FederationSettings, HubName, HubSettings};
use crate::server::Presence;
use crate::store::{ReceivedTotals, Store};
use crate::user::UserId;

/// What the hubs are called.
pub(super) const ONE: &str = "one";
pub(super) const TWO: &str = "two";

/// How long the last states may take to the second hub: those who do nothing any more time out meanwhile.
const PATIENCE: Duration = Duration::from_secs(8);

/// What there is to show of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct SecondHub {
    /// Whose states were compared.
    pub(super) users: usize,
    /// Of them, whose are not as in the first hub.
    pub(super) different: Vec<String>,
    /// From when nobody's state changed any more until there was no difference.
    #[serde(serialize_with = "seconds")]
    pub(super) settled: Duration,
    pub(super) transactions: u64,
    /// States in them that were news.
    pub(super) states: u64,
    pub(super) stale: u64,
    /// What receiving them has cost.
    pub(super) requests: Vec<Work>,
}

impl SecondHub {
    /// Waits until all have timed out, and then until the second hub's copy is what the first one has. Then looks what it
    /// has received.
    pub(super) async fn look(one: &Store, two: &Store, users: &[UserId]) -> anyhow::Result<Self> {
        let hub: HubName = ONE.parse()?;
        let copies = Copies { one, two, hub: hub.clone(), users };
        copies.all_offline(PATIENCE).await?;
        let (settled, different) = copies.settle(PATIENCE).await?;
        let ReceivedTotals { transactions, accepted, stale } = two.received_totals(&hub).await?;
        let different = different.iter().map(ToString::to_string).collect();
        Ok(Self {
            users: users.len(),
            different,
            settled,
            transactions,
            states: accepted,
            stale,
            ..Self::default()
        })
    }

    /// With what it has cost.
    pub(super) fn with_costs(self, supervisor: &Supervisor) -> Self {
        Self { requests: rows(&supervisor.totals(), ContextKind::Request).collect(), ..self }
    }

    /// What is wrong with it, once it has ended.
    pub(super) fn problems(&self, supervisor: &Supervisor, stopped: &Stopped) -> Vec<String> {
        let mut problems = lost_in(&supervisor.totals(), stopped);
        problems.iter_mut().for_each(|problem| problem.insert_str(0, "hub two: "));
        if !self.different.is_empty() {
            problems.push(format!("hub two has not what hub one has of {}", self.different.join(", ")));
        }
        if self.transactions == 0 {
            problems.push("hub two was told nothing".to_owned());
        }
        problems
    }
}

/// Starts it: nobody's data is its own, and it tells nobody of any.
pub(super) async fn start(
    supervisor: &Supervisor,
    database: DatabaseUrl,
    secret: &Secret,
) -> anyhow::Result<(Service<Presence>, SocketAddr)> {
    let mut settings = Settings::<Presence>::default();
    settings.service.listeners = vec![ListenerSettings::new(SocketAddr::from(([127, 0, 0, 1], 0)).into())];
    settings.database.url = database;
    // The first is not there yet; as it follows nobody, it is never called.
    settings.server.federation = federation(TWO, ONE, SocketAddr::from(([127, 0, 0, 1], 9)), secret, false)?;
    let startup = supervisor.context("startup").start();
    let service = Service::start(settings).in_context(startup.clone()).await;
    startup.finish();
    let service = service?;
    let Some(&ListenAddress::Tcp(address)) = service.addresses().next() else { bail!("it listens nowhere") };
    Ok((service, address))
}

/// Of a hub that knows one other.
pub(super) fn federation(
    name: &str,
    other: &str,
    address: SocketAddr,
    secret: &Secret,
    follows_all: bool,
) -> anyhow::Result<FederationSettings> {
    let url = format!("http://{address}").parse().map_err(anyhow::Error::msg)?;
    let hub = HubSettings { url, secret: secret.clone(), follows_all };
    Ok(FederationSettings {
        hub: name.to_owned(),
        hubs: [(other.to_owned(), hub)].into(),
        retry_limit: PositiveTime::from_secs(2),
        ..FederationSettings::default()
    })
}

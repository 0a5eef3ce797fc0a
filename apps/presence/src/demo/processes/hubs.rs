//! [`Hubs`]: two hubs, each as processes of its own.

use std::path::Path;

use anyhow::{Context as _, bail};
use logcontext_service::config::{BusUrl, DatabaseUrl};

use super::config::HubConfig;
use super::member::Member;
use super::ports;
use crate::role::Role;
use crate::status::ProcessAddress;

/// Two API processes and two senders of the first hub, and one process that is the second.
#[derive(Debug)]
pub(super) struct Hubs {
    pub(super) members: Vec<Member>,
}

/// What the hubs are called.
pub(super) const ONE: &str = "one";
pub(super) const TWO: &str = "two";

const MEMBERS: [(&str, Role); 5] = [
    ("api-1", Role::Api),
    ("api-2", Role::Api),
    ("sender-1", Role::Sender),
    ("sender-2", Role::Sender),
    // Last: it is the other hub.
    ("two", Role::All),
];

/// How often to look for other ports. Somebody else must have taken one each time between our look and the start.
const TRIES: usize = 3;

impl Hubs {
    /// Starts all of them, and waits until they answer.
    ///
    /// # Errors
    /// If one of them does not start.
    pub(super) async fn start(
        bus: &BusUrl,
        database: &DatabaseUrl,
        run: &str,
        folder: &Path,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<Self> {
        let mut tries = 1;
        loop {
            match Self::try_to_start(bus, database, run, folder, random).await {
                Err(error) if tries < TRIES && format!("{error:#}").contains("in use") => tries += 1,
                started => return started,
            }
        }
    }

    async fn try_to_start(
        bus: &BusUrl,
        database: &DatabaseUrl,
        run: &str,
        folder: &Path,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<Self> {
        let ports = || [ports::free(random), ports::free(random)];
        let ports: Vec<_> = std::iter::repeat_with(ports).take(MEMBERS.len()).collect();
        let members = MEMBERS.into_iter().zip(ports);
        let mut hubs = Self {
            members: members.map(|((name, role), ports)| Member::new(name, role, ports, folder)).collect(),
        };
        let second = sqlite(folder, TWO)?;
        // What nobody but the two of them knows.
        let secret: String = std::iter::repeat_with(|| random.alphanumeric()).take(32).collect();
        let (at_one, at_two) = (hubs.member("api-1").address, hubs.member(TWO).address);
        let hub = |name, database, other| HubConfig {
            name,
            bus,
            prefix: format!("presence-demo-{run}-{name}"),
            database,
            other,
            secret: &secret,
        };
        let (one, two) = (hub(ONE, database, (TWO, at_two, true)), hub(TWO, &second, (ONE, at_one, false)));
        for member in &mut hubs.members {
            let config = if member.name == TWO { &two } else { &one };
            let config = config.of(member);
            member.start_with(&config)?;
        }
        for member in &mut hubs.members {
            member.answers().await?;
        }
        Ok(hubs)
    }

    pub(super) fn member(&self, name: &str) -> &Member {
        let found = self.members.iter().find(|member| member.name == name);
        found.expect("the members are known by name")
    }

    pub(super) fn addresses(&self) -> Vec<ProcessAddress> {
        self.members.iter().map(Member::status_address).collect()
    }

    /// Where the first hub's users go.
    pub(super) fn api(&self) -> Vec<std::net::SocketAddr> {
        let api = self.members.iter().filter(|member| member.role == Role::Api);
        api.map(|member| member.address).collect()
    }

    /// Those of which one is killed.
    pub(super) fn of_one(&mut self) -> Vec<&mut Member> {
        self.members.iter_mut().filter(|member| member.name != TWO).collect()
    }

    /// Looks whether all of them run.
    ///
    /// # Errors
    /// If one has ended that was not told to.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        for member in &mut self.members {
            if let Some(status) = member.ended()? {
                bail!("{} has ended by itself, {status}: {}", member.name, member.last_lines());
            }
        }
        Ok(())
    }

    /// Ends all of them in order: who sends before who is sent to. Answers what was not as it should be.
    pub(super) async fn end(mut self) -> Vec<String> {
        let mut problems = Vec::new();
        for member in &mut self.members {
            match member.end_by("TERM").await {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    problems.push(format!("{} ended with {status}: {}", member.name, member.last_lines()));
                }
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        problems
    }
}

/// A database of a hub, in the folder.
pub(super) fn sqlite(folder: &Path, hub: &str) -> anyhow::Result<DatabaseUrl> {
    let file = folder.join(format!("{hub}.db"));
    let file = file.to_str().context("expected a temporary folder whose path is Unicode")?;
    Ok(DatabaseUrl::from(format!("sqlite:{file}?mode=rwc")))
}

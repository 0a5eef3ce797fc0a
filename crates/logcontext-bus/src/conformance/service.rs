//! A service, as a user writes it.

use std::borrow::Cow;
use std::time::Duration;

use logcontext::Supervisor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Case;
use super::case::soon;
use crate::{Bus, BusConfig, Event, Rpc};

/// Something that has happened to somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Changed {
    pub(super) user: String,
    pub(super) n: u64,
}

impl Event for Changed {
    const NAME: &str = "conformance.changed";

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.user))
    }
}

/// The same, in partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Spread {
    pub(super) user: String,
    pub(super) n: u64,
}

impl Event for Spread {
    const NAME: &str = "conformance.spread";
    const PARTITIONS: u16 = 4;

    fn key(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.user))
    }
}

/// A question with a number in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Ask(pub(super) u64);

impl Rpc for Ask {
    const NAME: &str = "conformance.ask";
    type Response = u64;
    type Error = No;
}

/// Another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct AskBack(pub(super) u64);

impl Rpc for AskBack {
    const NAME: &str = "conformance.ask-back";
    type Response = u64;
    type Error = No;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct No {
    pub(super) because: String,
}

impl std::fmt::Display for No {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "no: {}", self.because)
    }
}

/// An instance of a service, with a supervisor of its own.
pub(super) struct Service {
    pub(super) bus: Bus,
    pub(super) supervisor: Supervisor,
}

impl Case {
    /// One more instance of this service.
    pub(super) fn service(&self, name: &str) -> Service {
        self.service_with(name, |config| config)
    }

    pub(super) fn service_with(&self, name: &str, setup: impl FnOnce(BusConfig) -> BusConfig) -> Service {
        let supervisor = Supervisor::new(name);
        // None of them is to give up because a machine is slow.
        let config = self.link(|config| BusConfig {
            service: name.to_owned(),
            call_timeout: Duration::from_secs(120),
            fire_timeout: Duration::from_secs(120),
            start_timeout: Duration::from_secs(120),
            ..setup(config)
        });
        let make = || self.bus(&config.config);
        let bus = supervisor.context("startup").start().scope(make);
        Service { bus, supervisor }
    }
}

impl Service {
    /// Ends it as a service ends: what is under way is finished.
    pub(super) async fn end(self) {
        let shutdown = soon("a shutdown", self.supervisor.shutdown(Duration::from_secs(60))).await;
        assert!(shutdown.aborted.is_empty(), "{:?}", shutdown.aborted);
        soon("a close", self.bus.close(Duration::from_secs(10))).await;
    }

    /// Ends it as if it was killed: there is nothing more that it could say to the broker.
    pub(super) async fn kill(self) {
        soon("a cut", self.bus.inner().transport.close(Duration::ZERO)).await;
        soon("a shutdown", self.supervisor.shutdown(Duration::ZERO)).await;
    }

    /// Fires these, of one user.
    pub(super) async fn fire_all(&self, user: &str, numbers: impl IntoIterator<Item = u64>) {
        for n in numbers {
            self.bus.fire(&Changed { user: user.to_owned(), n }).await.expect("it is fired");
        }
    }

    /// Completes when the group has nothing before it, and nothing in hand.
    pub(super) async fn done(&self, event: &str, group: &str) {
        let done = async {
            while self.bus.lag(event, group).await.expect("the lag") != Default::default() {
                tokio::task::yield_now().await;
            }
        };
        soon("all is done", done).await;
    }
}

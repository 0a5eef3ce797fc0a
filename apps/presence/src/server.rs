//! The service, as one [`Server`]: the kit does the rest.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::HeaderName;
use axum::response::Response;
use logcontext_bus::Bus;
use logcontext_http::{ContextLayer, server_timing};
use logcontext_service::{BoxError, Datastore, Server};

use crate::sender::{self, Sender};
use crate::settings::{DatabaseSettings, PresenceSettings};
use crate::store::Store;
use crate::{api, bus, federation, prune, timeout};

/// Users have a presence.
#[derive(Debug)]
pub struct Presence {
    settings: PresenceSettings,
    store: Arc<Store>,
    bus: Bus,
    /// Where this process tells other hubs.
    sender: Option<Sender>,
}

impl Server for Presence {
    const NAME: &'static str = env!("CARGO_PKG_NAME");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "The reference service of logcontext: users have a presence";

    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("role", "presence.role"),
        ("bus", "presence.bus.url"),
        ("database", "database.url"),
        ("unavailable-after", "presence.unavailable_after"),
        ("offline-after", "presence.offline_after"),
        ("history-retention", "presence.history_retention"),
    ];

    type Settings = PresenceSettings;
    type Datastore = Store;

    async fn new(settings: PresenceSettings, store: Arc<Store>) -> Result<Self, BoxError> {
        let bus = bus::start(&settings.bus, settings.role, &store).await?;
        let PresenceSettings { role, federation, .. } = &settings;
        let sends = role.sends() && federation.hub().is_some();
        let sender = sends.then(|| sender::start(&bus, &store, federation, settings.bus.is_shared()));
        let sender = sender.transpose()?;
        Ok(Self { settings, store, bus, sender })
    }

    fn routes(self: Arc<Self>) -> Router {
        let Self { settings, store, bus, .. } = &*self;
        if !settings.role.answers() {
            return api::health();
        }
        let others = federation::routes(Arc::clone(store), bus.clone(), &settings.federation);
        api::routes(Arc::clone(store)).merge(others)
    }

    fn background(self: Arc<Self>) {
        if !self.settings.role.answers() {
            return;
        }
        timeout::start(Arc::clone(&self.store), self.settings.timeouts(), self.settings.time_out_every.get());
        prune::start(Arc::clone(&self.store), self.settings.retention(), self.settings.prune_every.get());
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let PresenceSettings { role, federation, .. } = &self.settings;
        vec![("role", role.as_str().to_owned()), ("hub", federation.hub.clone())]
    }

    async fn close(&self, deadline: Duration) {
        let end = Instant::now() + deadline;
        if let Some(sender) = &self.sender {
            sender.close(deadline).await;
        }
        self.bus.close(end.saturating_duration_since(Instant::now())).await;
    }

    fn contexts(layer: ContextLayer) -> ContextLayer {
        layer
            .quiet_paths(["/health"])
            .request_id_header(HeaderName::from_static("x-request-id"))
            .server_timing(server_timing::loopback_clients)
    }

    fn panicked() -> Response {
        api::panicked()
    }
}

impl Datastore for Store {
    type Settings = DatabaseSettings;

    async fn open(settings: &DatabaseSettings) -> Result<Self, BoxError> {
        Ok(Self::open(&settings.url, &settings.limits()).await?)
    }

    fn kind(&self) -> String {
        self.backend().to_string()
    }

    async fn check(&self) -> Result<(), BoxError> {
        self.users().await?;
        Ok(())
    }

    async fn close(&self, deadline: Duration) -> usize {
        self.close(deadline).await.left_open
    }
}

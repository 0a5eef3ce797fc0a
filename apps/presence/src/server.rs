//! The service, as one [`Server`]: the kit does the rest.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderName;
use axum::response::Response;
use logcontext_bus::Bus;
use logcontext_http::{ContextLayer, server_timing};
use logcontext_service::{BoxError, Datastore, Server};

use crate::settings::{DatabaseSettings, PresenceSettings};
use crate::store::Store;
use crate::{api, bus, prune, timeout};

/// Users have a presence.
#[derive(Debug)]
pub struct Presence {
    settings: PresenceSettings,
    store: Arc<Store>,
    bus: Bus,
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
        Ok(Self { settings, store, bus })
    }

    fn routes(self: Arc<Self>) -> Router {
        if self.settings.role.answers() { api::routes(Arc::clone(&self.store)) } else { api::health() }
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
        self.bus.close(deadline).await;
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

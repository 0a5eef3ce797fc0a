//! The server of the tests.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderName;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use futures_util::StreamExt;
use logcontext::{Supervisor, background};
use logcontext_http::ContextLayer;
use logcontext_service::{BoxError, Datastore, Section, Server};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// Greets.
#[derive(Debug)]
pub(crate) struct Greeter {
    greeting: String,
    stubborn: bool,
    memory: Arc<Memory>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct GreeterSettings {
    pub(crate) greeting: String,
    /// Refuses to start.
    pub(crate) refuse: bool,
    /// Never starts.
    pub(crate) hang: bool,
    /// Does something in the background that never ends.
    pub(crate) stubborn: bool,
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) hangs: Hangs,
}

impl Section for GreeterSettings {}

impl Section for MemorySettings {}

impl Default for GreeterSettings {
    fn default() -> Self {
        Self {
            greeting: "hello".to_owned(),
            refuse: false,
            hang: false,
            stubborn: false,
            hangs: Hangs::default(),
        }
    }
}

/// Told when it has come to where it hangs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hangs(pub(crate) Arc<Notify>);

impl PartialEq for Hangs {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// What requests wait for, and say.
#[derive(Debug, Default)]
pub(crate) struct Gates {
    pub(crate) arrived: Notify,
    pub(crate) go_on: Notify,
}

/// Data that is nowhere, and what became of it.
#[derive(Debug)]
pub(crate) struct Memory {
    settings: MemorySettings,
    pub(crate) gates: Gates,
    happened: Mutex<Vec<&'static str>>,
    pub(crate) broken: AtomicUsize,
}

#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MemorySettings {
    /// Cannot be opened.
    pub(crate) refuse: bool,
    /// How many connections are left open at the end.
    pub(crate) left_open: usize,
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) closed: Closed,
}

/// How often it was closed: for who has no [`Memory`] to ask.
#[derive(Clone, Debug, Default)]
pub(crate) struct Closed(pub(crate) Arc<AtomicUsize>);

impl PartialEq for MemorySettings {
    fn eq(&self, other: &Self) -> bool {
        (self.refuse, self.left_open) == (other.refuse, other.left_open)
    }
}

impl Memory {
    pub(crate) fn note(&self, what: &'static str) {
        self.happened.lock().unwrap().push(what);
    }

    pub(crate) fn happened(&self) -> Vec<&'static str> {
        self.happened.lock().unwrap().clone()
    }
}

impl Datastore for Memory {
    type Settings = MemorySettings;

    async fn open(settings: &MemorySettings) -> Result<Self, BoxError> {
        if settings.refuse {
            return Err("no memory at postgres://bob:hunter2@db/x".into());
        }
        let settings = settings.clone();
        Ok(Self {
            settings,
            gates: Gates::default(),
            happened: Mutex::default(),
            broken: AtomicUsize::new(0),
        })
    }

    fn kind(&self) -> String {
        "memory".to_owned()
    }

    async fn check(&self) -> Result<(), BoxError> {
        match self.broken.load(SeqCst) {
            0 => Ok(()),
            1 => Err("gone".into()),
            _ => std::future::pending().await,
        }
    }

    async fn close(&self, _: Duration) -> usize {
        self.note("closed");
        self.settings.closed.0.fetch_add(1, SeqCst);
        self.settings.left_open
    }
}

impl Server for Greeter {
    const NAME: &'static str = "greeter";
    const VERSION: &'static str = "1.2.3";
    type Settings = GreeterSettings;
    type Datastore = Memory;

    async fn new(settings: GreeterSettings, memory: Arc<Memory>) -> Result<Self, BoxError> {
        if settings.refuse {
            return Err("it does not want to".into());
        }
        if settings.hang {
            settings.hangs.0.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(Self { greeting: settings.greeting, stubborn: settings.stubborn, memory })
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        vec![("mood", self.greeting.clone())]
    }

    async fn close(&self, deadline: Duration) {
        assert!(!deadline.is_zero(), "there is time left for it");
        self.memory.note("server closed");
    }

    fn routes(self: Arc<Self>) -> Router {
        let (slow, endless, greeting) =
            (Arc::clone(&self.memory), Arc::clone(&self.memory), self.greeting.clone());
        Router::new()
            .route("/", get(async move || greeting))
            .route(
                "/panic",
                get(async || {
                    if true {
                        panic!("planned")
                    }
                }),
            )
            .route("/echo", post(async |body: Bytes| body))
            .route("/slow", get(async move || slow.wait("request").await))
            .route(
                "/endless",
                get(async move || -> () {
                    endless.wait("request").await;
                    std::future::pending::<()>().await;
                }),
            )
            .route(
                "/stream",
                get(async || {
                    let events = futures_util::stream::repeat_with(|| {
                        Ok::<_, std::convert::Infallible>(Event::default().data("on"))
                    });
                    let first = events.take(1).chain(futures_util::stream::pending());
                    Sse::new(first.take_until(Supervisor::current().draining()))
                }),
            )
    }

    fn background(self: Arc<Self>) {
        if self.stubborn {
            background::run("stubborn", std::future::pending::<()>());
        }
        background::every("tick", Duration::from_secs(3600)).run(async || {});
        let memory = Arc::clone(&self.memory);
        background::run("keep", async move {
            Supervisor::current().shutting_down().await;
            memory.note("background");
        });
    }

    fn contexts(layer: ContextLayer) -> ContextLayer {
        layer.request_id_header(HeaderName::from_static("x-request-id"))
    }
}

impl Memory {
    async fn wait(&self, what: &'static str) {
        self.gates.arrived.notify_one();
        self.gates.go_on.notified().await;
        self.note(what);
    }
}

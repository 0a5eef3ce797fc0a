//! [`Server`] and [`Datastore`]: what a service says of itself; the rest is the same for all of them.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use logcontext_http::ContextLayer;

use crate::settings::Section;

/// Whatever went wrong. It is shown with its causes, on one line.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// A server: what it is called, where its data is, what it answers, and what it does in the background. All that is
/// the same for every server is done by [`run`](crate::run) or [`Service`](crate::Service).
///
/// The idea is Synapse's `HomeServer`, whose subclasses name their `DATASTORE_CLASS` and share one `setup`.
#[doc(alias = "HomeServer")]
pub trait Server: Send + Sync + Sized + 'static {
    /// What it is called, in lower case: in the `Server` header, and the section of its own settings.
    const NAME: &'static str;
    /// Its version: `env!("CARGO_PKG_VERSION")`.
    const VERSION: &'static str;
    /// One sentence for `--help`.
    const ABOUT: &'static str = "";
    /// Where it listens if nobody says.
    const LISTEN: &'static str = "127.0.0.1:8008";
    /// Where it tells of itself if nobody says: metrics, health, what runs. `off` is nowhere.
    const ADMIN: &'static str = "off";
    /// Short names for keys of its configuration, as flags and variables: `("database", "database.url")`.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];

    /// Its own settings: the section of the configuration that has its name.
    type Settings: Section;

    /// Where its data is.
    #[doc(alias = "DATASTORE_CLASS")]
    type Datastore: Datastore;

    /// Makes the server, before it is asked anything. It is called in the context `startup`.
    ///
    /// # Errors
    /// Whatever keeps it from starting. Then the datastore is closed.
    fn new(
        settings: Self::Settings,
        datastore: Arc<Self::Datastore>,
    ) -> impl Future<Output = Result<Self, BoxError>> + Send;

    /// What it answers: each request in a context of its own.
    fn routes(self: Arc<Self>) -> Router;

    /// Starts what runs in the background, with [`logcontext::background`]. It is called last, in the context
    /// `startup`, when nothing can fail any more.
    fn background(self: Arc<Self>) {}

    /// What else it says of itself on its page `/status`, such as its role: `vec![("role", "sender".to_owned())]`. Asked
    /// once, after it was made.
    fn details(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Closes what it has open beside its datastore, within so long: a connection to a bus, for one. It is called when
    /// nothing runs in the background any more, before the datastore is closed.
    fn close(&self, deadline: Duration) -> impl Future<Output = ()> + Send {
        let _ = deadline;
        async {}
    }

    /// How contexts are made of requests: quiet paths, a trusted header for ids, who may see `Server-Timing`.
    fn contexts(layer: ContextLayer) -> ContextLayer {
        layer
    }

    /// Answers for a handler that panicked; what it said is in the log.
    fn panicked() -> Response {
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

/// Where a server's data is: opened before anything else of it, and closed after all of it.
pub trait Datastore: Send + Sync + Sized + 'static {
    /// How to open it: the section `database` of the configuration.
    type Settings: Section;

    /// Opens it, and brings its tables up to date. It is called in the context `startup`.
    ///
    /// # Errors
    /// If that fails. Nothing is left open then.
    fn open(settings: &Self::Settings) -> impl Future<Output = Result<Self, BoxError>> + Send;

    /// Which kind it is, for the log.
    fn kind(&self) -> String;

    /// Whether it can be used now: what readiness asks.
    ///
    /// # Errors
    /// Why not.
    fn check(&self) -> impl Future<Output = Result<(), BoxError>> + Send;

    /// Closes all that is open, and waits for that for so long. Answers how many connections are open still.
    fn close(&self, deadline: Duration) -> impl Future<Output = usize> + Send;
}

/// No data: for servers that keep none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDatastore;

impl Datastore for NoDatastore {
    type Settings = crate::settings::Empty;

    async fn open(_: &Self::Settings) -> Result<Self, BoxError> {
        Ok(Self)
    }

    fn kind(&self) -> String {
        "none".to_owned()
    }

    async fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }

    async fn close(&self, _: Duration) -> usize {
        0
    }
}

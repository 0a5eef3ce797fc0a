//! Log contexts for HTTP: a context per request and per connection, and the access line.
//!
//! [`ContextLayer`] is a tower layer: each request runs in a context of its own, `GET-17`, totalled by method and
//! route, and ends with one line that says what it cost:
//! ```text
//! 127.0.0.1 - 8008 - {@alice} Processed request: 0.012sec/0.001sec ru=(0.003sec, 0.001sec) db=(0.000sec/0.004sec/2) 123B 200 "PUT /presence/alice HTTP/1.1" "curl/8" [3 dbevts]
//! ```
//! [`serve`] accepts connections, each in a context of its own, and stops in order when its supervisor shuts
//! down.
//!
//! What to add to an axum service:
#![cfg_attr(all(feature = "axum", feature = "server"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "axum", feature = "server")), doc = "```ignore")]
//! use axum::{Router, extract::Path, routing::get};
//! use logcontext::Supervisor;
//! use logcontext_http::{ContextLayer, ServeOptions, serve, set_user};
//!
//! async fn presence(Path(user): Path<String>) -> String {
//!     set_user(&*user); // the access line and all further log lines of the request show it
//!     tracing::info!("looked up"); // logged in the request's context
//!     format!("{user} is online")
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let app = Router::new()
//!         .route("/presence/{user}", get(presence))
//!         .layer(ContextLayer::new().quiet_paths(["/health"]));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:8008").await?;
//!     serve(listener, app, ServeOptions::default()).await?; // until the supervisor drains or shuts down
//!     for totals in Supervisor::global().totals() {
//!         println!("{totals:?}"); // by label: `GET /presence/{user}`, and connections by listener
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Features
//! - `axum` (default): labels from the route that axum has matched, `LabelLayer`.
//! - `server` (default): `serve`, `detach`, `upgraded`, `BodyLimitLayer`.
//! - `tls`: TLS for `serve`, by rustls with ring.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(feature = "server"), allow(rustdoc::broken_intra_doc_links, reason = "`serve` is a feature"))]

mod access;
#[cfg(feature = "server")]
mod body_limit;
mod client;
mod connection;
mod context;
#[cfg(feature = "server")]
mod detach;
mod label;
mod outgoing;
mod request;
#[cfg(feature = "server")]
mod serve;
pub mod server_timing;
#[cfg(feature = "server")]
mod upgrade;

#[cfg(feature = "server")]
pub use body_limit::{BodyLimitFuture, BodyLimitLayer, BodyLimitService, BodyTimeoutError, LimitedBody};
pub use client::{ClientFuture, ClientLayer, ClientService};
pub use connection::ConnectionInfo;
pub use context::{
    ContextBody, ContextFuture, ContextLayer, ContextService, EmptyPanicResponse, PanicResponse,
};
#[cfg(feature = "server")]
pub use detach::{Detached, detach};
#[cfg(feature = "axum")]
pub use label::{LabelLayer, LabelService};
pub use outgoing::{TraceparentLayer, TraceparentService, trace_headers};
pub use request::set_user;
#[cfg(feature = "server")]
pub use serve::{Listener, ServeOptions, Served, serve};
#[cfg(feature = "tls")]
pub use serve::{Tls, TlsError};
#[cfg(feature = "server")]
pub use upgrade::upgraded;

/// The guide's examples are tests.
#[cfg(all(doctest, feature = "axum", feature = "server"))]
#[doc = include_str!("../../../docs/guide/http.md")]
pub struct Guide;

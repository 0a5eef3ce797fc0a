//! Putting a server together in one file: what is the same for every server, on log contexts.
//!
//! A type that implements [`Server`] names its [`Datastore`], gives its routes and its background processes.
//! [`run`] does the rest: command line, [configuration](config), log, datastore, listeners, metrics, signals, a
//! shutdown in order, exit code. [`Service`] is the same without the process: for tests, and for several in one.
//!
//! A server in one file, and what happens from its first line to its last, is in the guide: `docs/guide/server.md`.
//!
//! # Features
//! - `tls`: listeners that speak TLS, by rustls.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod admin;
pub mod config;
mod daemon;
mod error;
mod run;
mod server;
mod service;
mod settings;

pub use error::StartError;
pub use run::{App, run};
pub use server::{BoxError, Datastore, NoDatastore, Server};
pub use service::{Service, Settings, Stopped};
pub use settings::{
    AdminAddress, AdminSettings, Empty, LimitSettings, ListenAddress, ListenerSettings, LogDestination,
    LogFormat, LogSettings, RuntimeSettings, Section, ServiceSettings, ShutdownSettings,
};

/// The guide's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/server.md")]
pub struct Guide;

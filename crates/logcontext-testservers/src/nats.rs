//! NATS with JetStream.

mod kind;

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::Unavailable;
use crate::controls::controls;
use crate::instance::Instance;
use crate::port::random;
use crate::programs::program;
use kind::Kind;

/// A NATS server with JetStream. It ends when this is dropped, or when this process is gone for whatever reason, and takes
/// its data with it.
///
/// ```no_run
/// use logcontext_testservers::{Nats, Stop};
///
/// let nats = Nats::start().unwrap();
/// assert!(nats.url().starts_with("nats://127.0.0.1:"));
///
/// nats.stop(Stop::Immediate);
/// nats.start_again(); // with all that JetStream has acknowledged
/// ```
#[derive(Debug)]
pub struct Nats {
    url: String,
    /// `None` where others have started it
    instance: Option<Instance<Kind>>,
    /// Then nobody may stop it.
    is_shared: bool,
}

controls!(Nats, instance: Instance<Kind>);

impl Nats {
    /// The environment variable that names the server of a test run, by a `nats://host:port` URL.
    pub const VARIABLE: &str = "LOGCONTEXT_TEST_NATS";

    /// The Debian package that brings the program.
    pub const PACKAGE: &str = "nats-server";

    /// Starts one for whoever calls this alone. It takes messages of up to 8 MiB; what it has acknowledged it has written,
    /// so that it is there after a kill.
    ///
    /// # Errors
    ///
    /// Where NATS is not installed, or does not start.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with("max_payload: 8MB")
    }

    /// Like [`start`](Self::start), with these lines in its settings file instead, such as `max_payload: 1MB`.
    ///
    /// # Errors
    ///
    /// Where NATS is not installed, or does not start with these settings.
    pub fn start_with(settings: &str) -> Result<Self, Unavailable> {
        let instance = Instance::start(find()?, settings)?;
        Ok(Self { url: kind::url(instance.port()), instance: Some(instance), is_shared: false })
    }

    /// The server of this test run: the one that [`VARIABLE`](Self::VARIABLE) names, or else one of this process, which the
    /// first call starts. Nobody can stop or pause it. Tests that use it at the same time keep to
    /// [prefixes of their own](Self::fresh_prefix).
    ///
    /// # Errors
    ///
    /// Where the server that the variable names does not answer. Where there is none, as for [`start`](Self::start).
    pub fn shared() -> Result<&'static Self, Unavailable> {
        static SHARED: OnceLock<Result<Nats, Unavailable>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match env::var(Self::VARIABLE) {
            Ok(url) if !url.is_empty() => Self::connect(url),
            _ => Self::start().map(|nats| Self { is_shared: true, ..nats }),
        });
        shared.as_ref().map_err(Unavailable::clone)
    }

    /// Is the program there that [`start`](Self::start) needs?
    ///
    /// # Errors
    ///
    /// Where it is not: how to install it.
    pub fn find() -> Result<(), Unavailable> {
        find().map(drop)
    }

    fn connect(url: String) -> Result<Self, Unavailable> {
        let port = url.rsplit_once(':').and_then(|(_, port)| port.trim_end_matches('/').parse().ok());
        match port.and_then(kind::info) {
            Some(_) => Ok(Self { url, instance: None, is_shared: true }),
            None => Err(Unavailable::new(format!(
                "the NATS server that {} names does not answer: expected nats://127.0.0.1:port",
                Self::VARIABLE
            ))),
        }
    }

    /// The URL, as in `nats://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A prefix for subjects and streams that nobody else has. What has it goes away with the server.
    pub fn fresh_prefix(&self) -> String {
        format!("test-{:016x}", random())
    }
}

fn find() -> Result<PathBuf, Unavailable> {
    program("NATS", "nats-server", Nats::PACKAGE)
}

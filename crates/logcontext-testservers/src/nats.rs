//! NATS with JetStream.

mod kind;

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::instance::Instance;
use crate::port::random;
use crate::programs::{folder_with, on_path};
use crate::{Stop, Unavailable};
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

    /// Stops the server, and returns when it is gone. Does nothing where it is gone already.
    ///
    /// # Panics
    ///
    /// If the server is shared, or does not stop.
    #[track_caller]
    pub fn stop(&self, how: Stop) {
        self.own("stop").stop(how);
    }

    /// Starts it after a [`stop`](Self::stop), with its data and on the same port, and returns when it answers. Does
    /// nothing where it runs.
    ///
    /// # Panics
    ///
    /// If the server is shared, or does not start.
    #[track_caller]
    pub fn start_again(&self) {
        if let Err(error) = self.own("start").start_again() {
            panic!("{error}");
        }
    }

    /// Stops it as [`Stop::Fast`] does, and starts it again.
    ///
    /// # Panics
    ///
    /// If the server is shared, or does not stop or start.
    #[track_caller]
    pub fn restart(&self) {
        self.stop(Stop::Fast);
        self.start_again();
    }

    /// Freezes the server until [`resume`](Self::resume): connections stay open, new ones are still accepted by the
    /// operating system, and nothing answers.
    ///
    /// # Panics
    ///
    /// If the server is shared, or does not run.
    #[track_caller]
    pub fn pause(&self) {
        self.own("pause").pause();
    }

    /// Lets it go on after a [`pause`](Self::pause).
    ///
    /// # Panics
    ///
    /// If the server is shared.
    #[track_caller]
    pub fn resume(&self) {
        self.own("resume").resume();
    }

    #[track_caller]
    fn own(&self, what: &str) -> &Instance<Kind> {
        match &self.instance {
            Some(instance) if !self.is_shared => instance,
            _ => {
                panic!("cannot {what} a server that other tests use: take one of your own from Nats::start()")
            }
        }
    }
}

fn find() -> Result<PathBuf, Unavailable> {
    find_in(on_path())
}

fn find_in(folders: Vec<PathBuf>) -> Result<PathBuf, Unavailable> {
    folder_with(&["nats-server"], folders.into_iter()).map(|folder| folder.join("nats-server")).ok_or_else(
        || {
            Unavailable::new(format!(
                "NATS is missing: no folder on PATH has nats-server (to install it: apt-get install -y {})",
                Nats::PACKAGE
            ))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_the_command_that_installs_it() {
        for folders in [vec![], vec!["/no/such/folder".into()]] {
            let error = find_in(folders).unwrap_err().to_string();
            assert!(error.contains("nats-server"), "{error}");
            assert!(error.contains("apt-get install -y nats-server"), "{error}");
        }
    }
}

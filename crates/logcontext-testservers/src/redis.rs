//! Redis.

mod kind;
mod resp;
mod settings;

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::Unavailable;
use crate::controls::controls;
use crate::instance::Instance;
use crate::port::random;
use crate::programs::program;
use kind::Kind;
use settings::{DURABLE, IN_MEMORY};

/// A Redis server. It ends when this is dropped, or when this process is gone for whatever reason, and takes its
/// data with it.
///
/// ```no_run
/// use logcontext_testservers::{Redis, Stop};
///
/// let redis = Redis::start().unwrap();
/// assert!(redis.url().starts_with("redis://127.0.0.1:"));
///
/// redis.ask(&["SET", "key", "value"]);
/// redis.stop(Stop::Immediate);
/// redis.start_again();
/// assert_eq!(redis.ask(&["GET", "key"]), ["value"]);
/// ```
#[derive(Debug)]
pub struct Redis {
    url: String,
    /// `None` where others have started it
    instance: Option<Instance<Kind>>,
    /// Then nobody may stop it.
    is_shared: bool,
}

controls!(Redis, instance: Instance<Kind>);

impl Redis {
    /// The environment variable that names the server of a test run, by a `redis://host:port/` URL.
    pub const VARIABLE: &str = "LOGCONTEXT_TEST_REDIS";

    /// The Debian package that brings the program.
    pub const PACKAGE: &str = "redis-server";

    /// Starts one for whoever calls this alone. It has written down each command before it answers it
    /// (`appendfsync always`), so that nothing it has acknowledged is lost with it, however it ends.
    ///
    /// # Errors
    ///
    /// Where Redis is not installed, or does not start.
    pub fn start() -> Result<Self, Unavailable> {
        Self::start_with(&[])
    }

    /// Like [`start`](Self::start), with settings as in `redis.conf`, such as `("maxmemory", "10mb")`.
    ///
    /// # Errors
    ///
    /// Where Redis is not installed, or does not start with these settings.
    pub fn start_with(settings: &[(&str, &str)]) -> Result<Self, Unavailable> {
        Self::launch(&[&DURABLE, settings].concat())
    }

    /// Starts one that writes nothing down: it is faster, and comes back from a stop with nothing.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub fn start_in_memory() -> Result<Self, Unavailable> {
        Self::launch(&IN_MEMORY)
    }

    fn launch(settings: &[(&str, &str)]) -> Result<Self, Unavailable> {
        let instance = Instance::start(find()?, settings)?;
        Ok(Self { url: kind::url(instance.port()), instance: Some(instance), is_shared: false })
    }

    /// The server of this test run: the one that [`VARIABLE`](Self::VARIABLE) names, or else one of this process,
    /// which the first call starts, and which is [in memory](Self::start_in_memory). Nobody can stop or pause it.
    /// Tests that use it at the same time keep to [keys of their own](Self::fresh_prefix).
    ///
    /// # Errors
    ///
    /// Where the server that the variable names does not answer. Where there is none, as for
    /// [`start`](Self::start).
    pub fn shared() -> Result<&'static Self, Unavailable> {
        static SHARED: OnceLock<Result<Redis, Unavailable>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| match env::var(Self::VARIABLE) {
            Ok(url) if !url.is_empty() => Self::connect(url),
            _ => Self::start_in_memory().map(|redis| Self { is_shared: true, ..redis }),
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
        match resp::ask(&url, &["PING"]) {
            Ok(_) => Ok(Self { url, instance: None, is_shared: true }),
            Err(error) => Err(Unavailable::new(format!(
                "the Redis server that {} names does not answer: {error}",
                Self::VARIABLE
            ))),
        }
    }

    /// The URL, as in `redis://127.0.0.1:port/`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A prefix for keys and channels that nobody else has. What has it goes away with the server.
    pub fn fresh_prefix(&self) -> String {
        format!("test-{:016x}", random())
    }

    /// Sends a command over a connection of its own, and returns the reply: its strings and numbers, in order, however
    /// they are nested. Nothing, as of a key that does not exist, leaves no trace. This is the server's own view, to
    /// check what a client says.
    ///
    /// # Panics
    ///
    /// If the server answers with an error, or not at all.
    #[track_caller]
    pub fn ask(&self, command: &[&str]) -> Vec<String> {
        match resp::ask(&self.url, command) {
            Ok(reply) => reply,
            Err(error) => panic!("{error}\nin: {}", command.join(" ")),
        }
    }
}

fn find() -> Result<PathBuf, Unavailable> {
    program("Redis", "redis-server", Redis::PACKAGE)
}

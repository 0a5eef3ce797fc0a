//! [`Broker`]: what the processes' bus is on.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use logcontext_service::config::BusUrl;

use super::member::last_lines;
use super::ports;
use super::wait::until;
use super::watched::Watched;

/// Somebody's, or one of our own that goes with it.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) url: BusUrl,
    /// What it is called in what is shown.
    pub(super) shown: String,
    _own: Option<Watched>,
}

/// How long one of our own may take to start.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often to look for another port.
const PORTS: usize = 5;

impl Broker {
    /// The one that was said, or one of our own.
    ///
    /// # Errors
    /// If there is none, or it does not start.
    pub(super) async fn start(
        given: Option<&BusUrl>,
        folder: &Path,
        random: &mut fastrand::Rng,
    ) -> anyhow::Result<Self> {
        if let Some(url) = given {
            return Ok(Self { url: url.clone(), shown: url.to_string(), _own: None });
        }
        let Some((program, kind)) =
            Kind::ALL.into_iter().find_map(|kind| Some((on_path(kind.program())?, kind)))
        else {
            bail!(
                "no redis-server or nats-server on the PATH; expected one of them (install Redis or NATS), or a broker that runs, such as --bus redis://127.0.0.1:6379/"
            );
        };
        for _ in 0..PORTS {
            if let Some(broker) = Self::own(kind, &program, folder, ports::free(random)).await? {
                return Ok(broker);
            }
        }
        bail!("{} did not start: {}", kind.program(), last_lines(&log_path(folder)))
    }

    /// `None` if it has ended at once: somebody else has the port.
    async fn own(kind: Kind, program: &Path, folder: &Path, port: u16) -> anyhow::Result<Option<Self>> {
        let log = File::create(log_path(folder)).context("cannot write a log for the broker")?;
        let command = kind.command(program, folder, port);
        let server = Watched::start(&command, folder, log);
        let mut server = server.with_context(|| format!("cannot start {}", kind.program()))?;
        let answers = until(PATIENCE, async || {
            if server.ended()?.is_some() {
                return Ok(Some(false));
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(true))
        });
        let answers = answers.await?.with_context(|| format!("{} does not answer", kind.program()))?;
        let url: BusUrl = format!("{}://127.0.0.1:{port}/", kind.scheme()).parse()?;
        Ok(answers.then(|| Self { shown: url.to_string(), url, _own: Some(server) }))
    }
}

/// A broker that can be started here.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Redis,
    Nats,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Redis, Self::Nats];

    fn program(self) -> &'static str {
        match self {
            Self::Redis => "redis-server",
            Self::Nats => "nats-server",
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Nats => "nats",
        }
    }

    /// What it keeps goes with the folder.
    fn command(self, program: &Path, folder: &Path, port: u16) -> Vec<OsString> {
        let port = port.to_string();
        let arguments: &[&str] = match self {
            Self::Redis => {
                &["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]
            }
            Self::Nats => &["--port", &port, "--addr", "127.0.0.1", "--jetstream", "--store_dir"],
        };
        let mut command = vec![program.into()];
        command.extend(arguments.iter().map(OsString::from));
        command.push(folder.into());
        command
    }
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("broker.log")
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

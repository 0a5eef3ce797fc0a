//! The servers that tests and benchmarks need: one of each for a whole run, ended with it; and the programs that tests
//! need, which are found or unpacked and left where they are.
//!
//! To add a server: its constant here, next to [`REDIS`], and its place in [`ALL`]. Programs are in
//! [`programs`].

mod apt;
pub(crate) mod programs;

use std::any::Any;
use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use logcontext_testservers::{Nats, Postgres, Redis};

use crate::need::{Need, Probe};
use programs::Program;

/// A kind of server.
pub(crate) struct Server {
    need: Need,
    /// The Debian package that brings it
    package: &'static str,
    /// The environment variable that tells tests where it is. Where it is set already, whoever did so has a server.
    variable: &'static str,
    start: fn() -> Result<Running, String>,
}

/// A server that ends when this is dropped.
struct Running {
    url: String,
    _server: Box<dyn Any>,
}

pub(crate) const POSTGRES: Server = Server {
    need: Need {
        name: "PostgreSQL",
        probe: Probe::Finds(|| Postgres::find().is_ok()),
        install: "apt-get install -y postgresql",
    },
    package: Postgres::PACKAGE,
    variable: Postgres::VARIABLE,
    start: || {
        let server = Postgres::start().map_err(|error| error.to_string())?;
        Ok(Running { url: server.url("postgres"), _server: Box::new(server) })
    },
};

pub(crate) const REDIS: Server = Server {
    need: Need {
        name: "Redis",
        probe: Probe::Finds(|| Redis::find().is_ok()),
        install: "apt-get install -y redis-server",
    },
    package: Redis::PACKAGE,
    variable: Redis::VARIABLE,
    start: || {
        let server = Redis::start_in_memory().map_err(|error| error.to_string())?;
        Ok(Running { url: server.url().to_owned(), _server: Box::new(server) })
    },
};

pub(crate) const NATS: Server = Server {
    need: Need {
        name: "NATS",
        probe: Probe::Finds(|| Nats::find().is_ok()),
        install: "apt-get install -y nats-server",
    },
    package: Nats::PACKAGE,
    variable: Nats::VARIABLE,
    start: || {
        let server = Nats::start().map_err(|error| error.to_string())?;
        Ok(Running { url: server.url().to_owned(), _server: Box::new(server) })
    },
};

/// All that tests need.
pub(crate) const ALL: &[Server] = &[POSTGRES, REDIS, NATS];

/// The servers of one run.
#[derive(Default)]
pub(crate) struct Servers {
    running: Vec<(&'static str, Running)>,
    programs: Vec<(&'static str, OsString)>,
    missing: Vec<String>,
}

impl Servers {
    /// Starts one of each. What is not installed is installed first, where that is possible.
    pub(crate) fn start(kinds: &[Server]) -> Self {
        let absent: Vec<&Server> =
            kinds.iter().filter(|server| !server.is_given() && !server.need.is_there()).collect();
        if !absent.is_empty() && apt::can_install() {
            apt::install(&absent.iter().map(|server| server.package).collect::<Vec<_>>());
        }
        Self::start_installed(kinds)
    }

    fn start_installed(kinds: &[Server]) -> Self {
        let mut servers = Self::default();
        for server in kinds {
            if server.is_given() {
                println!("{}: the one that {} names", server.need.name, server.variable);
            } else if !server.need.is_there() {
                servers.missing.push(format!("{} is missing", server.need));
            } else {
                match (server.start)() {
                    Ok(running) => servers.running.push((server.variable, running)),
                    Err(error) => {
                        servers.missing.push(format!("{} does not start: {error}", server.need.name));
                    }
                }
            }
        }
        servers
    }

    /// With these programs as well. What is not installed is unpacked into `folder`, where that is possible.
    pub(crate) fn and(mut self, programs: &[Program], folder: &Path) -> Self {
        for program in programs {
            if program.is_given() {
                println!("{}: the one that {} names", program.need.name, program.variable);
            } else if let Some(path) = program.find(folder) {
                self.programs.push((program.variable, path.into()));
            } else {
                self.missing.push(format!("{} is missing", program.need));
            }
        }
        self
    }

    /// Like [`start`](Self::start), for what can do nothing without them.
    ///
    /// # Errors
    ///
    /// Where one is missing: which, and how to install it.
    pub(crate) fn start_all(kinds: &[Server]) -> Result<Self> {
        Self::start(kinds).all_or_none()
    }

    fn all_or_none(self) -> Result<Self> {
        if !self.missing.is_empty() {
            bail!("{}", self.missing.join("\n"));
        }
        Ok(self)
    }

    /// Which are not there, and why.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }

    /// Tells the command where they are.
    pub(crate) fn tell(&self, command: &mut Command) {
        for (variable, running) in &self.running {
            command.env(variable, &running.url);
        }
        for (variable, path) in &self.programs {
            command.env(variable, path);
        }
    }
}

#[cfg(test)]
impl Servers {
    /// One that is said to run.
    pub(crate) fn fake(variable: &'static str, url: &str) -> Self {
        let running = Running { url: url.to_owned(), _server: Box::new(()) };
        Self { running: vec![(variable, running)], ..Self::default() }
    }

    /// One that is said to be missing.
    pub(crate) fn none_of(name: &str) -> Self {
        Self { missing: vec![format!("{name} is missing")], ..Self::default() }
    }
}

impl Server {
    fn is_given(&self) -> bool {
        is_set(self.variable)
    }
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpStream};
    use std::path::PathBuf;

    use super::*;

    /// As everywhere
    const SET: &str = "PATH";
    const NOT_SET: &str = "LOGCONTEXT_TEST_NO_SUCH_SERVER";

    fn server(variable: &'static str, is_there: bool) -> Server {
        Server {
            need: Need {
                name: "redis",
                probe: Probe::Finds(if is_there { || true } else { || false }),
                install: "apt-get install -y redis",
            },
            package: "redis",
            variable,
            start: || Ok(Running { url: "redis://127.0.0.1:1".to_owned(), _server: Box::new(()) }),
        }
    }

    fn told(servers: &Servers) -> Option<String> {
        let mut command = Command::new("cargo");
        servers.tell(&mut command);
        let (_, value) = command.get_envs().find(|(name, _)| *name == NOT_SET)?;
        Some(value?.to_str()?.to_owned())
    }

    #[test]
    fn commands_learn_where_the_servers_are() {
        let servers = Servers::start_all(&[server(NOT_SET, true)]).unwrap();
        assert!(servers.missing().is_empty());
        assert_eq!(told(&servers).as_deref(), Some("redis://127.0.0.1:1"));
    }

    #[test]
    fn a_server_that_is_not_installed_is_missing_by_name() {
        let kinds = [server(NOT_SET, false), server(NOT_SET, true)];
        let servers = Servers::start_installed(&kinds[..1]);
        assert_eq!(servers.missing(), ["redis (to install it: apt-get install -y redis) is missing"]);
        assert_eq!(told(&servers), None);
        assert!(Servers::start_installed(&kinds).all_or_none().is_err());
    }

    #[test]
    fn a_server_that_does_not_start_is_missing_in_its_own_words() {
        let broken = Server { start: || Err("no space left".to_owned()), ..server(NOT_SET, true) };
        assert_eq!(Servers::start_installed(&[broken]).missing(), ["redis does not start: no space left"]);
    }

    #[test]
    fn where_a_server_is_given_none_is_started() {
        let given = Server { start: || unreachable!("one is given"), ..server(SET, false) };
        let servers = Servers::start_all(&[given]).unwrap();
        assert_eq!(told(&servers), None);
    }

    fn program(variable: &'static str, find: fn(&Path) -> Option<PathBuf>) -> Program {
        let need = Need {
            name: "promtool",
            probe: Probe::Finds(|| false),
            install: "apt-get install -y prometheus",
        };
        Program { need, package: "no-such-package-anywhere", variable, find, unpack: |_, _| {} }
    }

    #[test]
    fn commands_learn_where_the_programs_are() {
        let there = program(NOT_SET, |folder| Some(folder.join("promtool")));
        let servers = Servers::default().and(&[there], Path::new("/unpacked"));
        assert!(servers.missing().is_empty());
        assert_eq!(told(&servers).as_deref(), Some("/unpacked/no-such-package-anywhere/promtool"));
    }

    #[test]
    fn a_program_that_is_nowhere_is_missing_by_name() {
        let servers = Servers::default().and(&[program(NOT_SET, |_| None)], Path::new("/unpacked"));
        assert_eq!(servers.missing(), ["promtool (to install it: apt-get install -y prometheus) is missing"]);
        assert_eq!(told(&servers), None);
    }

    #[test]
    fn where_a_program_is_given_none_is_looked_for() {
        let given = program(SET, |_| unreachable!("one is given"));
        let servers = Servers::default().and(&[given], Path::new("/unpacked"));
        assert!(servers.missing().is_empty() && servers.programs.is_empty());
    }

    #[test]
    #[ignore = "needs PostgreSQL: cargo xtask test"]
    fn the_postgres_of_a_run_ends_with_it() {
        let running = (POSTGRES.start)().unwrap();
        let address = running.url.split_once('@').and_then(|(_, rest)| rest.split_once('/')).unwrap().0;
        let address: SocketAddr = address.parse().unwrap();
        let servers = Servers { running: vec![(NOT_SET, running)], ..Servers::default() };
        assert!(TcpStream::connect(address).is_ok());
        drop(servers);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    #[ignore = "needs Redis: cargo xtask test"]
    fn the_redis_of_a_run_ends_with_it() {
        let running = (REDIS.start)().unwrap();
        let address = running.url.strip_prefix("redis://").and_then(|url| url.strip_suffix('/')).unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let servers = Servers { running: vec![(NOT_SET, running)], ..Servers::default() };
        assert!(TcpStream::connect(address).is_ok());
        drop(servers);
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    #[ignore = "needs NATS: cargo xtask test"]
    fn the_nats_of_a_run_ends_with_it() {
        let running = (NATS.start)().unwrap();
        let address: SocketAddr = running.url.strip_prefix("nats://").unwrap().parse().unwrap();
        let servers = Servers { running: vec![(NOT_SET, running)], ..Servers::default() };
        assert!(TcpStream::connect(address).is_ok());
        drop(servers);
        assert!(TcpStream::connect(address).is_err());
    }
}

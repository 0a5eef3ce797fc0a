//! A server of our own: its data, its port, its process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::install::Install;
use super::psql::{self, without_settings};
use super::settings;
use super::url;
use crate::account::Account;
use crate::folder::TempFolder;
use crate::poll::poll;
use crate::port;
use crate::processes;
use crate::watched::Watched;
use crate::{Stop, Unavailable};

/// How often to look for another port. Someone else must have taken each between our look and the start.
const PORTS: usize = 20;

#[derive(Debug)]
pub(super) struct Cluster {
    // The server goes first, then what it stands on.
    state: Mutex<State>,
    port: u16,
    install: Install,
    account: Account,
    folder: TempFolder,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while stopped
    server: Option<Watched>,
    /// While paused: what to wake up, the server first
    paused: Vec<u32>,
}

/// Why a server does not run.
enum Failure {
    /// Someone else has it.
    PortTaken,
    Other(Unavailable),
}

impl Cluster {
    pub(super) fn start(install: Install, settings: &[(&str, &str)]) -> Result<Self, Unavailable> {
        Self::start_on(install, settings, port::free)
    }

    fn start_on(
        install: Install,
        settings: &[(&str, &str)],
        mut next_port: impl FnMut() -> u16,
    ) -> Result<Self, Unavailable> {
        let folder =
            TempFolder::create("postgres").map_err(|error| unavailable("no folder for it", &error))?;
        let account = Account::for_owner_of(folder.path(), &["postgres"])
            .and_then(|account| account.give(folder.path()).map(|()| account))
            .map_err(|error| unavailable("no account to run it as", &error))?;
        let mut cluster = Self { state: Mutex::default(), port: 0, install, account, folder };
        cluster.create_data(settings)?;
        for _ in 0..PORTS {
            cluster.port = next_port();
            match cluster.launch() {
                Ok(server) => {
                    cluster.state().server = Some(server);
                    return Ok(cluster);
                }
                Err(Failure::PortTaken) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Unavailable::new(format!(
            "PostgreSQL found each of {PORTS} ports taken that were free just before"
        )))
    }

    /// Of the database `postgres`
    pub(super) fn url(&self) -> String {
        url::with_database(&format!("postgres://postgres@127.0.0.1:{}", self.port), "postgres")
    }

    #[track_caller]
    pub(super) fn stop(&self, how: Stop) {
        let mut state = self.state();
        state.resume();
        let Some(server) = &mut state.server else { return };
        // Where the server is gone already, so is the pipe's other end.
        let _ = server.signal(match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        });
        assert!(server.wait(), "PostgreSQL does not stop\n{}", self.log());
        state.server = None;
    }

    pub(super) fn start_again(&self) -> Result<(), Unavailable> {
        let mut state = self.state();
        if state.server.as_mut().is_some_and(|server| !server.has_ended()) {
            return Ok(());
        }
        state.server = None;
        // The port is told to clients already. Whoever has taken it meanwhile may give it back.
        let launched = poll(|| match self.launch() {
            Ok(server) => Some(Ok(server)),
            Err(Failure::PortTaken) => None,
            Err(Failure::Other(error)) => Some(Err(error)),
        });
        state.server = Some(launched.unwrap_or_else(|| {
            Err(Unavailable::new(format!("someone else has taken PostgreSQL's port {}", self.port)))
        })?);
        Ok(())
    }

    #[track_caller]
    pub(super) fn pause(&self) {
        let mut state = self.state();
        assert!(state.server.as_mut().is_some_and(|server| !server.has_ended()), "PostgreSQL does not run");
        state.pause(self.process().expect("a server that runs has written its process id"));
    }

    pub(super) fn resume(&self) {
        self.state().resume();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed in here must still end its server.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn create_data(&self, settings: &[(&str, &str)]) -> Result<(), Unavailable> {
        let mut initdb = without_settings(Command::new(self.install.initdb()));
        self.account.run(&mut initdb);
        let output = initdb
            .args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C", "--username=postgres"])
            .arg("--pgdata")
            .arg(self.data())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(self.folder.hold().map_err(|error| unavailable("no folder for it", &error))?)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .map_err(|error| unavailable("cannot start initdb", &error))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Unavailable::new(format!("initdb failed ({}): {}", output.status, said.trim_end())));
        }
        OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .and_then(|mut file| file.write_all(settings::configuration(settings).as_bytes()))
            .map_err(|error| unavailable("cannot write its settings", &error))
    }

    /// Starts the server and waits until it answers.
    fn launch(&self) -> Result<Watched, Failure> {
        let log = File::create(self.log_path())
            .map_err(|error| Failure::Other(unavailable("cannot write its log", &error)))?;
        let command = [
            self.install.postgres().into_os_string(),
            "-D".into(),
            self.data().into_os_string(),
            "-p".into(),
            self.port.to_string().into(),
        ];
        let mut server = Watched::start(&command, "QUIT", self.account, &self.folder, log)
            .map_err(|error| Failure::Other(unavailable("cannot start it", &error)))?;
        let answers = poll(|| {
            if server.has_ended() {
                return Some(false);
            }
            self.answers().then_some(true)
        });
        if answers == Some(true) {
            return Ok(server);
        }
        let log = self.log();
        if answers == Some(false) && log.contains("could not create any TCP/IP sockets") {
            return Err(Failure::PortTaken);
        }
        let what = if answers.is_none() { "does not answer" } else { "ended at once" };
        Err(Failure::Other(Unavailable::new(format!("PostgreSQL {what}\n{log}"))))
    }

    /// Does this server answer, and not another one on the same port?
    fn answers(&self) -> bool {
        // Much cheaper than psql, as long as the server is on its way.
        self.says("ready")
            && psql::run(&self.install.psql(), &self.url(), "show data_directory")
                .is_ok_and(|folder| Path::new(&folder) == self.data())
    }

    /// Has the server written this down as its state?
    fn says(&self, state: &str) -> bool {
        self.notes().is_some_and(|notes| notes.lines().nth(7).is_some_and(|line| line.trim() == state))
    }

    /// The process id, as the server has written it down.
    fn process(&self) -> Option<u32> {
        self.notes()?.lines().next()?.trim().parse().ok()
    }

    /// What the server writes down while it runs: its process id is on line 1, its state on line 8.
    fn notes(&self) -> Option<String> {
        fs::read_to_string(self.data().join("postmaster.pid")).ok()
    }

    fn log(&self) -> String {
        fs::read(self.log_path()).map_or_else(
            |error| format!("(its log cannot be read: {error})"),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.state().resume();
    }
}

impl State {
    fn pause(&mut self, server: u32) {
        // From here on, it starts nobody. Nor is the id of a child that ends given to another process, as nobody
        // takes note of the end.
        self.paused.push(server);
        let _ = processes::signal("STOP", &self.paused);
        self.paused.extend(processes::children_of(server).unwrap_or_default());
        let _ = processes::signal("STOP", &self.paused);
    }

    fn resume(&mut self) {
        if !self.paused.is_empty() {
            self.paused.reverse();
            let _ = processes::signal("CONT", &self.paused);
            self.paused.clear();
        }
    }
}

fn unavailable(what: &str, error: &io::Error) -> Unavailable {
    Unavailable::new(format!("PostgreSQL: {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    #[ignore = "needs PostgreSQL: cargo xtask test"]
    fn a_port_that_someone_has_taken_meanwhile_is_left_to_them() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port::free())).unwrap();
        let mut ports = vec![port::free(), taken.local_addr().unwrap().port()];
        let cluster = Cluster::start_on(Install::find().unwrap(), &[], || ports.pop().unwrap()).unwrap();
        assert!(ports.is_empty());
        assert_ne!(cluster.port, taken.local_addr().unwrap().port());
        assert!(cluster.answers());
    }

    #[test]
    #[ignore = "needs PostgreSQL: cargo xtask test"]
    fn another_server_on_the_same_port_is_not_taken_for_this_one() {
        let other = Cluster::start(Install::find().unwrap(), &[]).unwrap();
        let mut ports = vec![port::free(), other.port];
        let cluster = Cluster::start_on(Install::find().unwrap(), &[], || ports.pop().unwrap()).unwrap();
        assert_ne!(cluster.port, other.port);
        assert!(cluster.answers() && other.answers());
    }
}

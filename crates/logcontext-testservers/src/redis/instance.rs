//! A server of our own: its data, its port, its process.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{resp, settings};
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
pub(super) struct Instance {
    // The server goes first, then what it stands on. A paused one is killed as well as any.
    state: Mutex<State>,
    port: u16,
    program: PathBuf,
    folder: TempFolder,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while stopped
    server: Option<Watched>,
    /// While paused
    paused: Option<u32>,
}

/// Why a server does not run.
enum Failure {
    /// Someone else has it.
    PortTaken,
    Other(Unavailable),
}

impl Instance {
    pub(super) fn start(program: PathBuf, settings: &[(&str, &str)]) -> Result<Self, Unavailable> {
        Self::start_on(program, settings, port::free)
    }

    fn start_on(
        program: PathBuf,
        settings: &[(&str, &str)],
        mut next_port: impl FnMut() -> u16,
    ) -> Result<Self, Unavailable> {
        let folder = TempFolder::create("redis").map_err(|error| unavailable("no folder for it", &error))?;
        let mut instance = Self { state: Mutex::default(), port: 0, program, folder };
        let configuration = settings::configuration(&instance.data(), &instance.process_file(), settings);
        fs::create_dir(instance.data())
            .and_then(|()| fs::write(instance.configuration(), configuration))
            .map_err(|error| unavailable("cannot write its settings", &error))?;
        for _ in 0..PORTS {
            instance.port = next_port();
            match instance.launch() {
                Ok(server) => {
                    instance.state().server = Some(server);
                    return Ok(instance);
                }
                Err(Failure::PortTaken) => {}
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(Unavailable::new(format!("Redis found each of {PORTS} ports taken that were free just before")))
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    #[track_caller]
    pub(super) fn stop(&self, how: Stop) {
        let mut state = self.state();
        state.resume();
        let Some(server) = &mut state.server else { return };
        // Where the server is gone already, so is the pipe's other end.
        let _ = server.signal(match how {
            Stop::Fast => "TERM",
            Stop::Immediate => "KILL",
        });
        assert!(server.wait(), "Redis does not stop\n{}", self.log());
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
            Err(Unavailable::new(format!("someone else has taken Redis's port {}", self.port)))
        })?);
        Ok(())
    }

    #[track_caller]
    pub(super) fn pause(&self) {
        let mut state = self.state();
        assert!(state.server.as_mut().is_some_and(|server| !server.has_ended()), "Redis does not run");
        let server = self.process().expect("a server that runs has written its process id");
        state.paused = Some(server);
        let _ = processes::signal("STOP", &[server]);
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

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("redis.conf")
    }

    /// The server writes its process id there when it listens, and removes it when it is told to stop.
    fn process_file(&self) -> PathBuf {
        self.folder.path().join("pid")
    }

    fn process(&self) -> Option<u32> {
        fs::read_to_string(self.process_file()).ok()?.trim().parse().ok()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log(&self) -> String {
        fs::read(self.log_path()).map_or_else(
            |error| format!("(its log cannot be read: {error})"),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    /// Starts the server and waits until it answers.
    fn launch(&self) -> Result<Watched, Failure> {
        // One that was killed leaves its id behind.
        let _ = fs::remove_file(self.process_file());
        let log = File::create(self.log_path())
            .map_err(|error| Failure::Other(unavailable("cannot write its log", &error)))?;
        let command = [
            self.program.clone().into_os_string(),
            self.configuration().into_os_string(),
            "--port".into(),
            self.port.to_string().into(),
        ];
        let mut server = Watched::start(&command, "KILL", Account::Own, &self.folder, log)
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
        if answers == Some(false) && log.contains("Failed listening on port") {
            return Err(Failure::PortTaken);
        }
        let what = if answers.is_none() { "does not answer" } else { "ended at once" };
        Err(Failure::Other(Unavailable::new(format!("Redis {what}\n{log}"))))
    }

    /// Does this server answer, with its data read, and not another one on the same port?
    fn answers(&self) -> bool {
        let asked = |command: &[&str]| resp::ask(&self.url(), command).unwrap_or_default();
        let is_ours =
            |folder: &String| fs::canonicalize(self.data()).is_ok_and(|data| data == Path::new(folder));
        self.process().is_some()
            && asked(&["CONFIG", "GET", "dir"]).last().is_some_and(is_ours)
            && asked(&["PING"]) == ["PONG"]
    }
}

impl State {
    fn resume(&mut self) {
        if let Some(server) = self.paused.take() {
            let _ = processes::signal("CONT", &[server]);
        }
    }
}

fn unavailable(what: &str, error: &io::Error) -> Unavailable {
    Unavailable::new(format!("Redis: {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    #[test]
    #[ignore = "needs Redis: cargo xtask test"]
    fn a_port_that_someone_has_taken_meanwhile_is_left_to_them() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port::free())).unwrap();
        let mut ports = vec![port::free(), taken.local_addr().unwrap().port()];
        let instance =
            Instance::start_on(super::super::find().unwrap(), &[], || ports.pop().unwrap()).unwrap();
        assert!(ports.is_empty());
        assert_ne!(instance.port, taken.local_addr().unwrap().port());
        assert!(instance.answers());
    }

    #[test]
    #[ignore = "needs Redis: cargo xtask test"]
    fn another_server_on_the_same_port_is_not_taken_for_this_one() {
        let other = Instance::start(super::super::find().unwrap(), &[]).unwrap();
        let mut ports = vec![port::free(), other.port];
        let instance =
            Instance::start_on(super::super::find().unwrap(), &[], || ports.pop().unwrap()).unwrap();
        assert_ne!(instance.port, other.port);
        assert!(instance.answers() && other.answers());
    }
}

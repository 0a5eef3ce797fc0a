//! A server of our own: its data, its port, its process. It runs as whoever starts it, reads its settings from a file,
//! and writes its process id to another.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::account::Account;
use crate::folder::TempFolder;
use crate::poll::poll;
use crate::port;
use crate::processes;
use crate::watched::Watched;
use crate::{Stop, Unavailable};

/// How often to look for another port. Someone else must have taken each between our look and the start.
const PORTS: usize = 20;

/// What one kind of server has of its own.
pub(crate) trait Kind: fmt::Debug {
    /// What it is called.
    const NAME: &str;
    /// What its log says where someone else has its port.
    const PORT_TAKEN: &str;
    /// Its settings, one after the other.
    type Settings<'a>;

    /// The text of its settings file.
    fn configuration(place: &Place, settings: Self::Settings<'_>) -> String;

    /// How it is started.
    fn command(program: &Path, place: &Place, port: u16) -> Vec<OsString>;

    /// Does this server answer, with its data read, and not another one on the same port?
    fn answers(place: &Place, port: u16) -> bool;
}

/// Where it has its files.
#[derive(Debug)]
pub(crate) struct Place(TempFolder);

#[derive(Debug)]
pub(crate) struct Instance<K> {
    // The server goes first, then what it stands on. A paused one is killed as well as any.
    state: Mutex<State>,
    port: u16,
    program: PathBuf,
    place: Place,
    kind: PhantomData<K>,
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

impl Place {
    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.0.path().join("configuration")
    }

    /// The server writes its process id there when it listens.
    pub(crate) fn process_file(&self) -> PathBuf {
        self.0.path().join("pid")
    }

    /// What nobody else is called.
    pub(crate) fn name(&self) -> String {
        self.0.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn log(&self) -> PathBuf {
        self.0.path().join("log")
    }

    fn process(&self) -> Option<u32> {
        fs::read_to_string(self.process_file()).ok()?.trim().parse().ok()
    }
}

impl<K: Kind> Instance<K> {
    pub(crate) fn start(program: PathBuf, settings: K::Settings<'_>) -> Result<Self, Unavailable> {
        Self::start_on(program, settings, port::free)
    }

    pub(crate) fn start_on(
        program: PathBuf,
        settings: K::Settings<'_>,
        mut next_port: impl FnMut() -> u16,
    ) -> Result<Self, Unavailable> {
        let folder = TempFolder::create(&K::NAME.to_lowercase())
            .map_err(|error| unavailable::<K>("no folder for it", &error))?;
        let place = Place(folder);
        let configuration = K::configuration(&place, settings);
        fs::create_dir(place.data())
            .and_then(|()| fs::write(place.configuration(), configuration))
            .map_err(|error| unavailable::<K>("cannot write its settings", &error))?;
        let mut instance = Self { state: Mutex::default(), port: 0, program, place, kind: PhantomData };
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
        Err(Unavailable::new(format!(
            "{} found each of {PORTS} ports taken that were free just before",
            K::NAME
        )))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    #[track_caller]
    pub(crate) fn stop(&self, how: Stop) {
        let mut state = self.state();
        state.resume();
        let Some(server) = &mut state.server else { return };
        // Where the server is gone already, so is the pipe's other end.
        let _ = server.signal(match how {
            Stop::Fast => "TERM",
            Stop::Immediate => "KILL",
        });
        assert!(server.wait(), "{} does not stop\n{}", K::NAME, self.log());
        state.server = None;
    }

    pub(crate) fn start_again(&self) -> Result<(), Unavailable> {
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
            Err(Unavailable::new(format!("someone else has taken the port of {}: {}", K::NAME, self.port)))
        })?);
        Ok(())
    }

    #[track_caller]
    pub(crate) fn pause(&self) {
        let mut state = self.state();
        assert!(state.server.as_mut().is_some_and(|server| !server.has_ended()), "{} does not run", K::NAME);
        let server = self.place.process().expect("a server that runs has written its process id");
        state.paused = Some(server);
        let _ = processes::signal("STOP", &[server]);
    }

    pub(crate) fn resume(&self) {
        self.state().resume();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed in here must still end its server.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> String {
        fs::read(self.place.log()).map_or_else(
            |error| format!("(its log cannot be read: {error})"),
            |log| String::from_utf8_lossy(&log).into_owned(),
        )
    }

    /// Starts the server and waits until it answers.
    fn launch(&self) -> Result<Watched, Failure> {
        // One that was killed leaves its id behind.
        let _ = fs::remove_file(self.place.process_file());
        let log = File::create(self.place.log())
            .map_err(|error| Failure::Other(unavailable::<K>("cannot write its log", &error)))?;
        let command = K::command(&self.program, &self.place, self.port);
        let mut server = Watched::start(&command, "KILL", Account::Own, &self.place.0, log)
            .map_err(|error| Failure::Other(unavailable::<K>("cannot start it", &error)))?;
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
        if answers == Some(false) && log.contains(K::PORT_TAKEN) {
            return Err(Failure::PortTaken);
        }
        let what = if answers.is_none() { "does not answer" } else { "ended at once" };
        Err(Failure::Other(Unavailable::new(format!("{} {what}\n{log}", K::NAME))))
    }

    pub(crate) fn answers(&self) -> bool {
        self.place.process().is_some() && K::answers(&self.place, self.port)
    }
}

impl State {
    fn resume(&mut self) {
        if let Some(server) = self.paused.take() {
            let _ = processes::signal("CONT", &[server]);
        }
    }
}

fn unavailable<K: Kind>(what: &str, error: &io::Error) -> Unavailable {
    Unavailable::new(format!("{}: {what}: {error}", K::NAME))
}

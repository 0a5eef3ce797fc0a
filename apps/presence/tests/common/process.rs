//! The command as users run it: in the foreground, or as a daemon.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use super::PATIENCE;

/// The command, which hears nothing from the environment, in this folder.
pub(crate) fn presence(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env("RUST_BACKTRACE", "0");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PRESENCE_")) {
        command.env_remove(name);
    }
    command
}

/// What became of a command that has ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl Done {
    /// It said in one line what is wrong.
    #[track_caller]
    pub(crate) fn assert_refused(&self, code: i32, expected: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.error.starts_with("error: ") && self.error.trim_end().lines().count() == 1, "{self:?}");
        for expected in expected {
            assert!(self.error.contains(expected), "{expected:?} is not in {self:?}");
        }
    }
}

pub(crate) fn run(command: &mut Command) -> Done {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
}

/// A folder of its own, in which the server keeps its log, its pid file and its sockets.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// How the server is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Foreground,
    Daemon,
}

impl How {
    pub(crate) const ALL: [Self; 2] = [Self::Foreground, Self::Daemon];

    /// What it is started with, and where its log and its pid file are unless that is said.
    pub(crate) fn arguments<'a>(self, more: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["serve"];
        for (flag, value) in [("--log-target", "presence.log"), ("--pid-file", "presence.pid")] {
            if !more.contains(&flag) {
                all.extend([flag, value]);
            }
        }
        if self == Self::Daemon {
            all.push("--daemonize");
        }
        all.extend(more);
        all
    }
}

/// A server that runs, killed should the test fail.
pub(crate) struct Process {
    pub(crate) folder: TempDir,
    pub(crate) id: u32,
    /// Of one in the foreground.
    child: Option<Child>,
    ended: bool,
}

impl Process {
    /// Starts it with these arguments as well, and waits until it answers.
    pub(crate) fn start(how: How, folder: TempDir, arguments: &[&str]) -> Self {
        let command = presence(folder.path(), &how.arguments(arguments));
        Self::start_as(how, folder, command)
    }

    /// The same by this command.
    pub(crate) fn start_as(how: How, folder: TempDir, mut command: Command) -> Self {
        match how {
            How::Foreground => {
                let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                let process = Self { folder, id: child.id(), child: Some(child), ended: false };
                wait_until("it listens", || process.log().contains(": listening "));
                process
            }
            How::Daemon => {
                // Something to let go of.
                let started = run(command.stdin(Stdio::piped()));
                assert_eq!((started.code, &*started.out, &*started.error), (Some(0), "", ""), "{started:?}");
                let id = fs::read_to_string(folder.path().join("presence.pid")).unwrap();
                Self { folder, id: id.trim().parse().unwrap(), child: None, ended: false }
            }
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("presence.log")).unwrap_or_default()
    }

    /// The first address that it has logged with this message.
    fn address_of(&self, message: &str) -> SocketAddr {
        let mut found = None;
        wait_until("it has logged its address", || {
            let log = self.log();
            let mut lines = log.lines().filter(|line| line.contains(message));
            found = lines.find_map(|line| line.split_once("address=")?.1.split(' ').next()?.parse().ok());
            found.is_some()
        });
        found.unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address_of(": listening ")
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.address_of(": telling of itself ")
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        let address = self.admin_address();
        let text = super::text(&format!("GET {path}"), &[], "").replace("host: test", "host: 127.0.0.1");
        exchange(TcpStream::connect(address).unwrap(), &text)
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.id.to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits for its end. Answers its exit code, which a daemon tells nobody but its log, and the log.
    pub(crate) fn wait(&mut self) -> (Option<i32>, String) {
        self.ended = true;
        let code = match &mut self.child {
            Some(child) => child.wait().unwrap().code(),
            None => {
                wait_until("it is gone", || !Path::new(&format!("/proc/{}", self.id)).exists());
                None
            }
        };
        (code, self.log())
    }

    /// Tells it to end, and fails if it does not end well, or has logged what a healthy service does not.
    pub(crate) fn end(mut self) -> (TempDir, String) {
        self.signal("TERM");
        let (code, log) = self.wait();
        assert!(matches!(code, Some(0) | None), "{code:?}: {log}");
        assert!(
            log.lines().last().unwrap().contains(" INFO shutdown logcontext_service::service: shut down "),
            "{log}"
        );
        assert!(!log.contains("sentinel") && !log.contains("logcontext::diagnostics"), "{log}");
        assert!(!self.path("presence.pid").exists());
        let folder = std::mem::replace(&mut self.folder, folder());
        (folder, log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.ended {
            let _ = Command::new("kill").args(["-s", "KILL", &self.id.to_string()]).status();
            let _ = self.child.as_mut().map(Child::wait);
        }
    }
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// Sends this, and reads all that comes.
pub(crate) fn exchange(mut stream: impl Read + Write, text: &str) -> String {
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

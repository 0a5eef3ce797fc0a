//! `presence serve`, as it is run.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

fn presence(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running service, killed should the test fail.
struct Server {
    child: Child,
    folder: TempDir,
    address: SocketAddr,
    log: Option<BufReader<std::process::ChildStdout>>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut command = presence(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).current_dir(&folder).env_remove("PRESENCE_DATABASE");
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        // What it starts before it listens is on the log as well, if that is told all.
        let mut start = String::new();
        while !start.contains("127.0.0.1:") {
            assert_ne!(log.read_line(&mut start).unwrap(), 0, "no address in {start:?}");
        }
        let digits = start.split("127.0.0.1:").nth(1).unwrap();
        let port: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { child, folder, address, log: Some(log) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        stream
    }

    fn put(&self) {
        self.ask("PUT /presence/alice", r#"{"presence": "online"}"#);
    }

    fn ask(&self, request: &str, body: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(common::text(request, &[common::JSON], body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        answer
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// The exit code and the rest of the log.
    fn end(mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.log.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn sigterm_ends_the_service_and_its_streams_in_time() {
    let server = Server::start(&["--shutdown-deadline", "10s"]);
    server.put();
    let mut stream = server.connect();
    stream.write_all(common::text("GET /presence/alice/stream", &[], "").as_bytes()).unwrap();
    let mut first = [0; 512];
    assert!(stream.read(&mut first).unwrap() > 0);

    let told = Instant::now();
    server.signal("TERM");
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut: {rest:?}");
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(told.elapsed() < Duration::from_secs(8), "{:?}", told.elapsed());
    assert!(log.contains("Processed request") && log.contains("SIGTERM"), "{log}");
    assert!(!log.contains("sentinel"), "{log}");
}

#[test]
fn the_database_is_a_file_in_the_current_folder_unless_said_otherwise() {
    let server = Server::start(&[]);
    server.put();
    let file = server.folder.path().join("presence.db");
    assert!(file.exists());
    server.signal("TERM");
    let mut server = server;
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    // What is written ahead is in the file, and nobody has it open.
    let names = std::fs::read_dir(server.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["presence.db"]);
}

#[test]
fn a_storm_of_clients_a_third_of_which_leave_ends_in_exit_0() {
    let server = Server::start(&["--log-filter", "debug"]);
    let put = common::text("PUT /presence/alice", &[common::JSON], r#"{"presence": "online"}"#);
    std::thread::scope(|scope| {
        for client in 0..8 {
            let (server, put) = (&server, &put);
            #[expect(clippy::disallowed_methods, reason = "is no part of the service")]
            scope.spawn(move || {
                for n in 0..30 {
                    match n % 3 {
                        0 => server.put(),
                        1 => drop(
                            server.ask(&format!("PUT /presence/u{client}"), r#"{"presence": "offline"}"#),
                        ),
                        // Without reading the answer.
                        _ => server.connect().write_all(put.as_bytes()).unwrap(),
                    }
                }
            });
        }
    });
    let history = server.ask("GET /presence/alice/history", "");
    assert!(history.contains("\"history\":[{"), "{history}");
    server.signal("TERM");
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("sentinel") && !log.contains("ERROR"), "{log}");
}

#[test]
fn the_log_can_be_json() {
    let server = Server::start(&["--log", "json"]);
    server.put();
    server.signal("INT");
    let (code, log) = server.end();
    assert_eq!(code, Some(0), "{log}");
    let records: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(records.iter().any(|record| record["context"].as_str().unwrap().starts_with("PUT-")), "{log}");
    assert!(records.iter().all(|record| record["context"] != "sentinel"), "{log}");
}

#[test]
fn a_second_signal_cuts_the_shutdown_short() {
    let server = Server::start(&["--shutdown-deadline", "1h"]);
    // Half of a body: a request that does not end.
    let mut stuck = server.connect();
    let put = common::text("PUT /presence/alice", &[common::JSON], r#"{"presence": "online"}"#);
    stuck.write_all(&put.as_bytes()[..put.len() - 5]).unwrap();
    server.put();
    server.signal("TERM");
    // It takes no more connections once it has heard the first.
    let told = Instant::now();
    while TcpStream::connect(server.address).is_ok() {
        assert!(told.elapsed() < common::PATIENCE, "it still takes connections");
        std::thread::yield_now();
    }
    server.signal("INT");
    let (code, log) = server.end();
    assert_eq!(code, Some(128 + 2), "{log}");
    assert!(log.contains("cut short"), "{log}");
}

fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = presence(arguments).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn wrong_command_lines_are_refused_by_name() {
    for (arguments, expected) in [
        (&["serve", "--listen", "here"][..], "--listen"),
        (&["serve", "--log", "xml"], "--log"),
        (&["serve", "--presence-timeout", "soon"], "--presence-timeout"),
        (&["serve", "--presence-timeout", "0s"], "--presence-timeout"),
        (&["serve", "--shutdown-deadline", "-1"], "-1"),
        (&["serve", "--history-retention", "0d"], "--history-retention"),
        (&["serve", "--history-retention", "forever"], "--history-retention"),
        (&["serve", "--database"], "--database"),
        (&["serve", "--nonsense"], "--nonsense"),
        (&["demo", "--seconds", "0"], "--seconds"),
        (&["demo", "--clients", "many"], "--clients"),
        (&["dance"], "dance"),
        (&[], "Usage"),
    ] {
        let (code, error) = run(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {error}");
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn a_filter_that_makes_no_sense_is_refused() {
    let (code, error) = run(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--log-filter",
        "presence=loud",
        "--database",
        "sqlite::memory:",
    ]);
    assert!(code.is_some_and(|code| code != 0), "{error}");
    assert!(error.contains("loud"), "{error}");
}

#[test]
fn a_port_in_use_is_told_by_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, error) = run(&["serve", "--listen", &address, "--database", "sqlite::memory:"]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(&address) && error.contains("in use"), "{error}");
}

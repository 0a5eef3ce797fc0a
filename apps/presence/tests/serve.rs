//! `presence serve`, as it is run.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

fn presence(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running service, killed should the test fail.
struct Server {
    child: Child,
    address: SocketAddr,
    log: Option<BufReader<std::process::ChildStdout>>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = presence(&["serve", "--listen", "127.0.0.1:0"]).args(arguments).spawn().unwrap();
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let digits = line.split("127.0.0.1:").nth(1).unwrap_or_else(|| panic!("no address in {line:?}"));
        let port: String = digits.chars().take_while(char::is_ascii_digit).collect();
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
        Self { child, address, log: Some(log) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
        stream
    }

    fn put(&self) {
        let mut stream = self.connect();
        let body = r#"{"presence": "online"}"#;
        stream.write_all(common::text("PUT /presence/alice", &[common::JSON], body).as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
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
    let (code, error) = run(&["serve", "--listen", "127.0.0.1:0", "--log-filter", "presence=loud"]);
    assert!(code.is_some_and(|code| code != 0), "{error}");
    assert!(error.contains("loud"), "{error}");
}

#[test]
fn a_port_in_use_is_told_by_address() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, error) = run(&["serve", "--listen", &address]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains(&address) && error.contains("in use"), "{error}");
}

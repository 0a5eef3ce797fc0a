//! The whole life of the service, as a process: in the foreground and as a daemon.
#![cfg(target_os = "linux")]

mod common;

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use common::process::{How, Process, exchange, folder};
use common::{JSON, Own, on_both_databases, text};

const CLIENTS: usize = 8;
const REQUESTS: usize = 45;

/// Mixed requests over TCP and a Unix socket, of clients a third of which leave without a look at the answer.
fn storm(process: &Process) {
    let (address, socket) = (process.address(), process.path("presence.sock"));
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let socket = &socket;
            #[expect(clippy::disallowed_methods, reason = "is no part of the service")]
            scope.spawn(move || {
                for n in 0..REQUESTS {
                    let user = format!("/presence/u{}", (client + n) % 5);
                    let (request, body) = match n % 7 {
                        0 | 1 => (format!("PUT {user}"), r#"{"presence": "online"}"#),
                        2 => (format!("PUT {user}"), r#"{"presence": "off"#),
                        3 => (format!("PUT {user}/profile"), r#"{"display_name": "U"}"#),
                        4 => (format!("GET {user}"), ""),
                        5 => (format!("GET {user}/history"), ""),
                        _ => ("GET /nowhere".to_owned(), ""),
                    };
                    let text = text(&request, &[JSON], body);
                    if n % 3 == 0 {
                        TcpStream::connect(address).unwrap().write_all(text.as_bytes()).unwrap();
                    } else if client % 2 == 0 {
                        let answer = exchange(TcpStream::connect(address).unwrap(), &text);
                        assert!(answer.starts_with("HTTP/1.1 "), "{answer:?} to {request}");
                    } else {
                        let answer = exchange(UnixStream::connect(socket).unwrap(), &text);
                        assert!(answer.starts_with("HTTP/1.1 "), "{answer:?} to {request}");
                    }
                }
            });
        }
    });
}

/// The sum of all series of a metric.
fn sum(metrics: &str, name: &str) -> f64 {
    let lines = metrics.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    });
    let values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    values.reduce(|a, b| a + b).unwrap_or_else(|| panic!("no {name} in {metrics}"))
}

fn lives_well(own: &Own, how: How) {
    let arguments = [
        "--listen",
        "127.0.0.1:0,unix:presence.sock",
        "--admin-address",
        "127.0.0.1:0",
        "--log-filter",
        "debug",
        "--database",
        &own.url,
    ];
    let process = Process::start(how, folder(), &arguments);
    assert!(process.admin("/ready").ends_with("\r\n\r\nready\n"));
    // A stream that is there at the end as well.
    let put = exchange(
        TcpStream::connect(process.address()).unwrap(),
        &text("PUT /presence/u0", &[JSON], r#"{"presence": "online"}"#),
    );
    assert!(put.starts_with("HTTP/1.1 200 "), "{put}");
    let mut stream = TcpStream::connect(process.address()).unwrap();
    stream.write_all(text("GET /presence/u0/stream", &[], "").as_bytes()).unwrap();
    storm(&process);
    let metrics = process.admin("/metrics");
    assert_eq!(sum(&metrics, "logcontext_diagnostics_total"), 0.0, "{metrics}");
    assert_eq!(sum(&metrics, "logcontext_panics_total"), 0.0, "{metrics}");
    assert_eq!(sum(&metrics, "log_records_dropped_total"), 0.0, "{metrics}");
    assert!(sum(&metrics, "logcontext_requests_total") >= (CLIENTS * REQUESTS * 2 / 3) as f64, "{metrics}");
    let socket = process.path("presence.sock");
    let (folder, log) = process.end();
    // A machine with others to serve may hold a poll up, whoever waits for a lock in it: that is said, and no fault.
    let complains = |line: &str| line.contains(" ERROR ") || line.contains(" WARN ");
    let is_held_up =
        |line: &str| line.contains(" WARN ") && line.contains(" logcontext::executor: blocked the executor ");
    assert!(!log.lines().any(|line| complains(line) && !is_held_up(line)), "{log}");
    assert!(!socket.exists());
    let rest = exchange(stream, "");
    assert!(rest.ends_with("0\r\n\r\n"), "the stream was cut: {rest:?}");
    own.assert_nobody_is_connected();
    let left: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(left, ["presence.log"]);
}

on_both_databases! {
    fn in_the_foreground_it_lives_well_and_leaves_nothing_behind(own: Own) {
        lives_well(&own, How::Foreground);
    }

    fn as_a_daemon_it_lives_well_and_leaves_nothing_behind(own: Own) {
        lives_well(&own, How::Daemon);
    }
}

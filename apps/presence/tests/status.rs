//! `presence status`, as it is run: against processes that answer, and against whatever else there is.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use common::PATIENCE;
use common::process::{Done, How, Process, folder, presence, run};
use serde_json::{Value, json};

fn start() -> Process {
    start_with(&["--admin-address", "127.0.0.1:0"])
}

fn start_with(more: &[&str]) -> Process {
    let arguments = ["--listen", "127.0.0.1:0", "--database", "sqlite:p.db?mode=rwc"];
    Process::start(How::Foreground, folder(), &[&arguments, more].concat())
}

fn admin_of(process: &Process) -> String {
    process.admin_address().to_string()
}

fn status(arguments: &[&str]) -> Done {
    run(&mut presence(folder().path(), &[&["status"], arguments].concat()))
}

fn overview(arguments: &[&str]) -> (Option<i32>, Value) {
    let done = status(&[&["--json"], arguments].concat());
    let overview = serde_json::from_str(&done.out).unwrap_or_else(|_| panic!("{done:?}"));
    (done.code, overview)
}

fn cost<'a>(overview: &'a Value, label: &str) -> &'a Value {
    let costs = overview["costs"].as_array().unwrap_or_else(|| panic!("{overview:#}"));
    costs.iter().find(|row| row["label"] == label).unwrap_or_else(|| panic!("no {label} in {overview:#}"))
}

fn put(process: &Process, user: &str) {
    let body = r#"{"presence":"online"}"#;
    let request = format!(
        "PUT /presence/{user} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = common::process::exchange(TcpStream::connect(process.address()).unwrap(), &request);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn what_all_processes_have_cost_is_summed() {
    let (one, two) = (start(), start());
    (0..3).for_each(|n| put(&one, &format!("user{n}")));
    (0..4).for_each(|n| put(&two, &format!("user{n}")));
    let addresses = [&*admin_of(&one), &*admin_of(&two)];
    let (code, overview) = overview(&addresses);
    assert_eq!((code, &overview["no_sums"]), (Some(0), &Value::Null));
    let processes = overview["processes"].as_array().unwrap();
    for (process, (shown, address)) in [&one, &two].into_iter().zip(processes.iter().zip(addresses)) {
        assert_eq!((&shown["address"], &shown["process_id"]), (&json!(address), &json!(process.id)));
        assert_eq!((&shown["version"], &shown["bus_connected"]), (&json!("0.1.0"), &json!(true)));
        assert_eq!(shown["requests_in_flight"], 0);
    }
    let put = cost(&overview, "PUT /presence/{user}");
    assert_eq!((&put["started"], &put["db_transactions"], &put["failed"]), (&json!(7), &json!(7), &json!(0)));
    assert_eq!(put["cpu_seconds"].as_f64().is_some_and(|cpu| cpu > 0.0), logcontext::books().is_some());

    let text = status(&addresses);
    assert_eq!((text.code, &*text.error), (Some(0), ""), "{text:?}");
    assert!(text.out.starts_with("process ") && text.out.contains("PUT /presence/{user}"), "{}", text.out);
    assert!(text.out.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns:\n{}", text.out);
    let few = status(&["--labels", "2", addresses[0]]).out;
    assert!(
        few.contains(" labels more\n") && few.split("all together").nth(1).unwrap().lines().count() == 4,
        "{few}"
    );
    one.end();
    two.end();
}

#[test]
fn there_are_no_sums_where_one_is_stopped_or_gone() {
    let (one, two) = (start(), start());
    let addresses = [&*admin_of(&one), &*admin_of(&two)];
    two.signal("STOP");
    let (code, stopped) = overview(&[&["--patience", "500ms"], &addresses[..]].concat());
    assert_eq!((code, &stopped["costs"]), (Some(1), &Value::Null));
    assert_eq!(stopped["processes"][0]["process_id"], one.id);
    assert_eq!(stopped["processes"][1]["error"], "no answer within 500ms");
    two.signal("CONT");
    two.end();
    let gone = status(&addresses);
    assert_eq!(gone.code, Some(1));
    for expected in [addresses[0], ": no connection: ", "no sums: 1 of 2 processes could not be looked at"] {
        assert!(gone.out.contains(expected), "{expected:?} is not in\n{}", gone.out);
    }
    assert!(!gone.out.contains("all together"), "{}", gone.out);
    one.end();
}

#[test]
fn one_that_is_named_twice_is_not_counted_twice() {
    let process = start();
    let address = admin_of(&process);
    let other = address.replace("127.0.0.1", "localhost");
    let (code, overview) = overview(&[&address, &other]);
    assert_eq!((code, &overview["costs"]), (Some(1), &Value::Null));
    let expected = format!("it is the process that answers at {address} as well");
    assert_eq!(overview["processes"][1]["error"], expected);
    process.end();
}

#[test]
fn processes_may_be_configured_and_have_sockets_and_tokens() {
    let process = start_with(&["--admin-address", "unix:admin.sock", "--set", "admin.token=s3cret"]);
    let folder = &process.folder;
    let file = "[admin]\ntoken = \"s3cret\"\n[presence.status]\nprocesses = [\"unix:admin.sock\"]\n";
    std::fs::write(folder.path().join("status.toml"), file).unwrap();
    let done = run(&mut presence(folder.path(), &["status", "--config", "status.toml"]));
    assert_eq!((done.code, &*done.error), (Some(0), ""), "{done:?}");
    assert!(done.out.contains("unix:admin.sock"), "{}", done.out);
    for (token, expected) in [("wrong", "it asks for a token"), ("wrong\\u0007", "the token cannot be sent")]
    {
        let file =
            format!("presence.status = {{ token = \"{token}\", processes = [\"unix:admin.sock\"] }}\n");
        std::fs::write(folder.path().join("status.toml"), file).unwrap();
        let done = run(&mut presence(folder.path(), &["status", "--config", "status.toml"]));
        assert!(
            done.code == Some(1) && done.out.contains(expected) && !done.out.contains("wrong"),
            "{done:?}"
        );
    }
    status(&[]).assert_refused(1, &["no process is known", "presence.status.processes"]);
    let mistaken = status(&["http://127.0.0.1:1/"]);
    assert!(
        mistaken.code == Some(2) && mistaken.error.contains("expected an address such as"),
        "{mistaken:?}"
    );
    process.end();
}

/// Answers whoever connects by this, until it is dropped by the end of the test.
#[expect(clippy::disallowed_methods, reason = "is somebody else's server")]
fn foreign(answer: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            answer(stream);
        }
    });
    address
}

fn says(body: &str) -> SocketAddr {
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    foreign(move |mut stream| {
        let _ = stream.write_all(answer.as_bytes());
    })
}

/// Writes the same over and over, until nobody reads it any more.
fn endless(head: &'static str, more: &'static [u8]) -> SocketAddr {
    foreign(move |mut stream| {
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(more).is_ok() {}
    })
}

const MANY: &[u8] = &[b' '; 64 << 10];

#[test]
fn whatever_answers_is_taken_for_what_it_is() {
    for (address, expected) in [
        (says("<html>hello</html>"), "its answer is no page /status"),
        (says(r#"{"page":1,"name":"greeter\u001b[2J"}"#), "it is another program, \"greeter\u{fffd}[2J\""),
        (says(r#"{"page":99,"name":"presence"}"#), "its page /status is number 99: expected 1"),
        (says(r#"{"page":1,"name":"presence"}"#), "its page /status cannot be read: missing field"),
        (foreign(|mut stream| drop(stream.write_all(b"\x00\x01 SSH-2.0-x\r\n"))), "the answer is no HTTP"),
        (foreign(drop), "the answer is no HTTP"),
        (
            foreign(|mut stream| drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"))),
            "its answer was cut off",
        ),
        (
            foreign(|mut stream| drop(stream.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"))),
            "it answered 503",
        ),
        (endless("HTTP/1.1 200 OK\r\nx: ", MANY), "the answer is no HTTP"),
        (endless("HTTP/1.1 200 OK\r\n\r\n", MANY), "its answer is longer than 16 MiB"),
        (endless("HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"), "no answer within 3s"),
        (foreign(std::mem::forget), "no answer within 3s"),
    ] {
        let began = Instant::now();
        let done = status(&["--patience", "3s", &address.to_string()]);
        assert!(began.elapsed() < PATIENCE);
        assert_eq!((done.code, &*done.error), (Some(1), ""), "{expected}: {done:?}");
        assert!(done.out.starts_with(&format!("{address}: {expected}")), "{expected}: {}", done.out);
        assert!(!done.out.contains('\u{1b}') && done.out.contains("no sums: 1 of 1 "), "{done:?}");
    }
}

#[test]
fn what_a_process_says_of_itself_stays_in_its_place() {
    let nasty = "\u{1b}[2J\u{202e}\r\nlabel ".repeat(20);
    let cost = |label: &str| {
        json!({
            "kind": "request", "label": label, "started": u64::MAX, "in_flight": 0, "failed": u64::MAX, "panicked": 1,
            "cancelled": 0, "cpu_seconds": 1e11, "db_transactions": u64::MAX, "db_transaction_seconds": 1e11,
            "db_wait_seconds": 1e11, "remote_calls": 1, "remote_cpu_seconds": 1e11,
        })
    };
    let figure =
        |name: &str| json!({ "name": name, "labels": { "event": nasty, "group": nasty }, "value": 1e18 });
    let page = json!({
        "page": 1, "name": "presence", "version": nasty, "details": { "role": nasty, "hub": nasty }, "instance": "a",
        "process_id": 1, "uptime_seconds": 9e11, "requests_in_flight": 1, "background_running": 1,
        "diagnostics": { nasty.clone(): 1 }, "panics": 1, "figures_left_out": 0, "costs": [cost(&nasty), cost("plain")],
        "figures": [figure("bus_group_unread"), figure("bus_group_pending"), figure("presence_pending_states")],
    });
    let done = status(&[&says(&page.to_string()).to_string()]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let moves = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!done.out.contains(moves), "{:?}", done.out);
    // Numbers of such a size are nobody's: they may take more room, but names may not.
    assert!(done.out.lines().all(|line| line.chars().count() <= 130), "{}", done.out);
    assert!(done.out.contains("plain"), "{}", done.out);
}

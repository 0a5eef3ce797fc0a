//! A real Redis server, from its start to its end.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use logcontext_testservers::{Link, Redis, Stop};

/// Set in a process that a test starts in order to kill it
const CHILD: &str = "LOGCONTEXT_TESTSERVERS_CHILD";

fn port(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.strip_suffix('/').unwrap().parse().unwrap()
}

fn folder(redis: &Redis) -> PathBuf {
    let data = PathBuf::from(setting(redis, "dir"));
    data.parent().unwrap().to_owned()
}

fn setting(redis: &Redis, name: &str) -> String {
    redis.ask(&["CONFIG", "GET", name]).pop().unwrap()
}

/// A line of `INFO`
fn info(redis: &Redis, name: &str) -> String {
    let info = redis.ask(&["INFO", "everything"]).remove(0);
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}

fn is_open(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "never came true: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_dropped_server_is_gone_with_its_folder() {
    let redis = Redis::start().unwrap();
    let (port, folder) = (port(redis.url()), folder(&redis));
    assert!(is_open(port));
    assert!(folder.is_dir());
    drop(redis);
    assert!(!is_open(port));
    assert!(!folder.exists());
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn fresh_prefixes_differ() {
    let redis = Redis::shared().unwrap();
    let [one, other] = [redis.fresh_prefix(), redis.fresh_prefix()];
    redis.ask(&["SET", &format!("{one}:key"), "1"]);
    assert_eq!(redis.ask(&["GET", &format!("{one}:key")]), ["1"]);
    assert_eq!(redis.ask(&["GET", &format!("{other}:key")]), [] as [&str; 0]);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn settings_reach_the_server() {
    let redis = Redis::start_with(&[
        ("maxmemory", "10mb"),
        ("requirepass", ""),
        ("client-output-buffer-limit", "normal 1 2 3"),
        ("proc-title-template", "it's \\ \"one\""),
    ])
    .unwrap();
    assert_eq!(setting(&redis, "maxmemory"), (10 * 1024 * 1024).to_string());
    assert!(setting(&redis, "client-output-buffer-limit").starts_with("normal 1 2 3"));
    assert_eq!(setting(&redis, "proc-title-template"), "it's \\ \"one\"");
    assert_eq!(setting(&redis, "appendonly"), "yes");
    assert_eq!(setting(&redis, "appendfsync"), "always");
    assert_eq!(setting(&redis, "save"), "");
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn settings_that_the_server_refuses_are_told_in_its_own_words() {
    let error = Redis::start_with(&[("maxmemory", "many")]).unwrap_err().to_string();
    assert!(error.contains("maxmemory") && error.contains("many"), "{error}");
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn data_and_port_stay_over_a_restart_and_a_crash() {
    let redis = Redis::start().unwrap();
    let url = redis.url().to_owned();
    let mut before = info(&redis, "run_id");
    for how in [Stop::Fast, Stop::Immediate] {
        redis.ask(&["INCR", "key"]);
        let log = folder(&redis).join("log");
        redis.stop(how);
        assert!(!is_open(port(&url)), "{how:?}");
        let log = fs::read_to_string(log).unwrap();
        assert_eq!(log.contains("bye bye"), how == Stop::Fast, "{log}");
        redis.stop(how);
        redis.start_again();
        redis.start_again();
        let now = info(&redis, "run_id");
        assert_ne!(now, before, "{how:?}");
        before = now;
    }
    redis.restart();
    assert_ne!(info(&redis, "run_id"), before);
    assert_eq!(redis.ask(&["GET", "key"]), ["2"]);
    assert_eq!(redis.url(), url);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_server_in_memory_writes_nothing_down() {
    let redis = Redis::start_in_memory().unwrap();
    redis.ask(&["SET", "key", "value"]);
    redis.restart();
    assert_eq!(redis.ask(&["GET", "key"]), [] as [&str; 0]);
    let files: Vec<_> = fs::read_dir(folder(&redis).join("data")).unwrap().collect();
    assert!(files.is_empty(), "{files:?}");
}

/// Is the process stopped? Where that cannot be found out, it is taken to be as expected.
fn is_stopped(process: &str, expected: bool) -> bool {
    fs::read_to_string(format!("/proc/{process}/status"))
        .map_or(expected, |status| status.lines().any(|line| line == "State:\tT (stopped)"))
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_paused_server_stands_still_until_it_goes_on() {
    let redis = Redis::start().unwrap();
    let process = info(&redis, "process_id");
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port(redis.url()))).unwrap();
    let mut answers = BufReader::new(client.try_clone().unwrap()).lines();
    client.write_all(b"ECHO connected\r\n").unwrap();
    assert_eq!(answers.nth(1).unwrap().unwrap(), "connected");

    redis.pause();
    eventually("paused", || is_stopped(&process, true));
    client.write_all(b"ECHO answered\r\n").unwrap();
    assert!(is_open(port(redis.url())));

    redis.resume();
    eventually("resumed", || !is_stopped(&process, false));
    assert_eq!(answers.nth(1).unwrap().unwrap(), "answered");
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_paused_server_can_be_stopped_and_dropped() {
    let redis = Redis::start().unwrap();
    let port = port(redis.url());
    for how in [Stop::Fast, Stop::Immediate] {
        redis.pause();
        redis.stop(how);
        assert!(!is_open(port));
        redis.start_again();
    }
    redis.pause();
    drop(redis);
    assert!(!is_open(port));
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn nobody_stops_the_server_that_all_share() {
    let redis = Redis::shared().unwrap();
    let error = std::panic::catch_unwind(|| redis.stop(Stop::Fast)).unwrap_err();
    let message = error.downcast_ref::<String>().unwrap();
    assert!(message.contains("Redis::start()"), "{message}");
    assert_eq!(redis.ask(&["PING"]), ["PONG"]);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_failed_command_panics_with_what_the_server_says() {
    let redis = Redis::shared().unwrap();
    let error = std::panic::catch_unwind(|| redis.ask(&["NO-SUCH-COMMAND"])).unwrap_err();
    let message = error.downcast_ref::<String>().unwrap();
    assert!(message.contains("unknown command"), "{message}");
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_link_leads_to_the_server_over_its_restart() {
    let redis = Redis::start().unwrap();
    let link = Link::to(redis.url());
    let client = || TcpStream::connect((Ipv4Addr::LOCALHOST, port(link.url()))).unwrap();
    let ask = |mut client: &TcpStream, command: &str| {
        client.write_all(format!("{command}\r\n").as_bytes())?;
        BufReader::new(client).lines().next().transpose()
    };
    let first = client();
    assert_eq!(ask(&first, "SET key value").unwrap().as_deref(), Some("+OK"));
    redis.restart();
    assert!(matches!(ask(&first, "PING"), Ok(None) | Err(_)));
    assert_eq!(ask(&client(), "STRLEN key").unwrap().as_deref(), Some(":5"));
}

/// What a test process says of the server that it has started, before it waits for its end.
fn be_killed(stop: bool) -> ! {
    let redis = Redis::start().unwrap();
    // The harness has begun a line.
    println!("\n{}", folder(&redis).display());
    println!("{}", redis.url());
    if stop {
        redis.pause();
    }
    println!("ready");
    // The parent holds the other end, and kills this process before it lets go.
    let _ = io::stdin().read_to_end(&mut Vec::new());
    panic!("nobody killed this process");
}

fn a_server_dies_with_its_parent(test: &str, paused: bool) {
    if env::var_os(CHILD).is_some() {
        be_killed(paused);
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(CHILD, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| line != "ready")
        .collect();
    let [.., folder, url] = lines.as_slice() else { panic!("{lines:?}") };
    let (port, folder) = (port(url), Path::new(folder));
    assert!(is_open(port));
    assert!(folder.is_dir());

    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the server is gone", || !is_open(port));
    eventually("its folder is gone", || !folder.exists());
    drop(stdin);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_server_dies_with_a_parent_that_is_killed() {
    a_server_dies_with_its_parent("a_server_dies_with_a_parent_that_is_killed", false);
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_paused_server_dies_with_a_parent_that_is_killed() {
    a_server_dies_with_its_parent("a_paused_server_dies_with_a_parent_that_is_killed", true);
}

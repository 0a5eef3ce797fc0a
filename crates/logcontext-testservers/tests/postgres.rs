//! A real PostgreSQL server, from its start to its end.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use logcontext_testservers::{Postgres, Stop};

/// Set in a process that a test starts in order to kill it
const CHILD: &str = "LOGCONTEXT_TESTSERVERS_CHILD";

fn port(url: &str) -> u16 {
    let (_, rest) = url.rsplit_once(':').unwrap();
    rest.split_once('/').unwrap().0.parse().unwrap()
}

fn folder(postgres: &Postgres) -> PathBuf {
    let data = PathBuf::from(postgres.psql("postgres", "show data_directory"));
    data.parent().unwrap().to_owned()
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
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_dropped_server_is_gone_with_its_folder() {
    let postgres = Postgres::start().unwrap();
    let (port, folder) = (port(&postgres.url("postgres")), folder(&postgres));
    assert!(is_open(port));
    assert!(folder.is_dir());
    drop(postgres);
    assert!(!is_open(port));
    assert!(!folder.exists());
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn fresh_databases_know_nothing_of_each_other() {
    let postgres = Postgres::shared().unwrap();
    let name = |url: String| url.rsplit_once('/').unwrap().1.split('?').next().unwrap().to_owned();
    let [one, other] = [postgres.fresh_database(), postgres.fresh_database()].map(name);
    postgres.psql(&one, "create table t (x int); insert into t values (1), (2)");
    assert_eq!(postgres.psql(&one, "select x, -x from t order by x"), "1|-1\n2|-2");
    assert_eq!(postgres.psql(&other, "select count(*) from pg_class where relname = 't'"), "0");
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn many_threads_create_databases_at_once() {
    let postgres = Postgres::shared().unwrap();
    let mut urls = thread::scope(|scope| {
        let create = || postgres.fresh_database();
        #[expect(clippy::disallowed_methods, reason = "there are no contexts here")]
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    urls.sort();
    urls.dedup();
    assert_eq!(urls.len(), 8);
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn settings_reach_the_server() {
    let postgres =
        Postgres::start_with(&[("max_connections", "7"), ("cluster_name", "it's \\n one")]).unwrap();
    assert_eq!(postgres.psql("postgres", "show max_connections"), "7");
    assert_eq!(postgres.psql("postgres", "show cluster_name"), "it's \\n one");
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn settings_that_the_server_refuses_are_told_in_its_own_words() {
    let error = Postgres::start_with(&[("max_connections", "many")]).unwrap_err().to_string();
    assert!(error.contains("max_connections") && error.contains("many"), "{error}");
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn data_and_port_stay_over_a_restart_and_a_crash() {
    let postgres = Postgres::start().unwrap();
    let url = postgres.url("postgres");
    let log = folder(&postgres).join("log");
    let started = || postgres.psql("postgres", "select pg_postmaster_start_time()");
    postgres.psql("postgres", "create table t (x int)");
    let mut before = started();
    for how in [Stop::Fast, Stop::Immediate] {
        postgres.psql("postgres", "insert into t values (1)");
        postgres.stop(how);
        assert!(!is_open(port(&url)), "{how:?}");
        postgres.stop(how);
        postgres.start_again();
        postgres.start_again();
        let now = started();
        assert_ne!(now, before, "{how:?}");
        before = now;
        let log = postgres.psql("postgres", &format!("select pg_read_file('{}')", log.display()));
        assert_eq!(log.contains("automatic recovery in progress"), how == Stop::Immediate, "{log}");
    }
    postgres.restart();
    assert_ne!(started(), before);
    assert_eq!(postgres.psql("postgres", "select sum(x) from t"), "2");
    assert_eq!(postgres.url("postgres"), url);
}

/// A session that answers statements, one a line.
fn session(url: &str) -> Child {
    Command::new("psql")
        .args(["-XAtq", "-d", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The server and its sessions.
fn processes(postgres: &Postgres) -> Vec<u32> {
    let file = fs::read_to_string(folder(postgres).join("data").join("postmaster.pid")).unwrap();
    let sessions =
        postgres.psql("postgres", "select pid from pg_stat_activity where pid <> pg_backend_pid()");
    let server = file.lines().next().into_iter();
    server.chain(sessions.lines()).map(|line| line.parse().unwrap()).collect()
}

/// Is the process stopped? Where that cannot be found out, it is taken to be as expected.
fn is_stopped(process: u32, expected: bool) -> bool {
    fs::read_to_string(format!("/proc/{process}/status"))
        .map_or(expected, |status| status.lines().any(|line| line == "State:\tT (stopped)"))
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_paused_server_and_its_sessions_stand_still_until_they_go_on() {
    let postgres = Postgres::start().unwrap();
    let mut psql = session(&postgres.url("postgres"));
    let mut answers = BufReader::new(psql.stdout.take().unwrap()).lines();
    let mut ask = |statement: &str| writeln!(psql.stdin.as_mut().unwrap(), "{statement};").unwrap();
    ask("select 'connected'");
    assert_eq!(answers.next().unwrap().unwrap(), "connected");
    let processes = processes(&postgres);
    assert!(processes.len() > 2, "{processes:?}");

    postgres.pause();
    for &process in &processes {
        eventually("paused", || is_stopped(process, true));
    }
    ask("select 'answered'");
    assert!(is_open(port(&postgres.url("postgres"))));

    postgres.resume();
    for &process in &processes {
        eventually("resumed", || !is_stopped(process, false));
    }
    assert_eq!(answers.next().unwrap().unwrap(), "answered");
    drop(psql.stdin.take());
    assert!(psql.wait().unwrap().success());
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_paused_server_can_be_stopped_and_dropped() {
    let postgres = Postgres::start().unwrap();
    let port = port(&postgres.url("postgres"));
    postgres.pause();
    postgres.stop(Stop::Fast);
    assert!(!is_open(port));
    postgres.start_again();
    postgres.pause();
    drop(postgres);
    assert!(!is_open(port));
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn nobody_stops_the_server_that_all_share() {
    let postgres = Postgres::shared().unwrap();
    let error = std::panic::catch_unwind(|| postgres.stop(Stop::Fast)).unwrap_err();
    let message = error.downcast_ref::<String>().unwrap();
    assert!(message.contains("Postgres::start()"), "{message}");
    assert_eq!(postgres.psql("postgres", "select 1"), "1");
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_failed_statement_panics_with_what_the_server_says() {
    let postgres = Postgres::shared().unwrap();
    let error = std::panic::catch_unwind(|| postgres.psql("postgres", "select no_such_column")).unwrap_err();
    let message = error.downcast_ref::<String>().unwrap();
    assert!(message.contains("column \"no_such_column\" does not exist"), "{message}");
}

/// What a test process says of the server that it has started, before it waits for its end.
fn be_killed(stop: bool) -> ! {
    let postgres = Postgres::start().unwrap();
    // The harness has begun a line.
    println!("\n{}", folder(&postgres).display());
    println!("{}", postgres.url("postgres"));
    if stop {
        postgres.pause();
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
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_server_dies_with_a_parent_that_is_killed() {
    a_server_dies_with_its_parent("a_server_dies_with_a_parent_that_is_killed", false);
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_paused_server_dies_with_a_parent_that_is_killed() {
    a_server_dies_with_its_parent("a_paused_server_dies_with_a_parent_that_is_killed", true);
}

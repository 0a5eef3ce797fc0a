//! A service that cannot start says why, in one line and without passwords, and leaves nothing behind.

mod common;

use std::error::Error;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Own, on_both_databases};
use logcontext::FutureExt;
use logcontext_service::{ListenerSettings, Service};
use logcontext_testservers::Postgres;
use presence::server::Presence;

const PASSWORD: &str = "hunter2";

/// The exit code, and what it said.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence"));
    command.args(arguments).env("RUST_BACKTRACE", "0").env_remove("PRESENCE_DATABASE");
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[track_caller]
fn assert_does_not_start(database: &str, expected: &[&str]) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--log-filter", "trace", "--database", database];
    let (code, log, error) = run(&arguments);
    // What is no address can be told without a try.
    let expected_code = if error.starts_with("error: --database: ") { 2 } else { 1 };
    assert_eq!(code, Some(expected_code), "{error}\n{log}");
    assert!(expected_code == 2 || error.starts_with("error: cannot open the database: "), "{error}");
    assert_eq!(error.trim_end().lines().count(), 1, "{error}");
    for expected in expected {
        assert!(error.contains(expected), "{expected:?} is not in {error}");
    }
    assert!(!log.contains("listening"), "{log}");
    assert!(!log.contains(PASSWORD) && !error.contains(PASSWORD), "{error}\n{log}");
}

fn in_file(path: &Path, mode: &str) -> String {
    format!("sqlite:{}?mode={mode}", path.display())
}

#[test]
fn a_server_that_is_not_there_is_told() {
    let port = {
        // Nobody else gets this one soon.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = format!("postgres://bob:{PASSWORD}@127.0.0.1:{port}/presence");
    assert_does_not_start(&url, &["cannot connect", "refused"]);
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn a_server_that_refuses_is_told() {
    let server = Postgres::shared().unwrap();
    let address = server.url("postgres").rsplit('@').next().unwrap().to_owned();
    let (host, _) = address.split_once('/').unwrap();
    let url = format!("postgres://nobody:{PASSWORD}@{host}/postgres");
    assert_does_not_start(&url, &["cannot connect", "nobody"]);
    let url = format!("postgres://postgres:{PASSWORD}@{host}/no_such_database");
    assert_does_not_start(&url, &["cannot connect", "no_such_database"]);
}

#[test]
fn what_is_no_address_is_told_without_its_password() {
    for url in [
        "presence.db",
        "",
        "mysql://bob:hunter2@db/presence",
        "postgres://bob:hunter2@db:port/presence",
        "postgres:/bob:hunter2@db/presence",
    ] {
        assert_does_not_start(url, &["expected the ", " of a database", "sqlite:", "postgres://"]);
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_told() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    assert_does_not_start(&in_file(&folder.path().join("no/such/folder.db"), "rwc"), &["unable to open"]);
    assert_does_not_start(&in_file(&folder.path().join("missing.db"), "rw"), &["unable to open"]);
    assert_does_not_start(&in_file(folder.path(), "rwc"), &["unable to open"]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_file_that_cannot_be_written_is_told() {
    let own = Own::sqlite();
    std::fs::write(own.file(), "").unwrap();
    assert_does_not_start(&in_file(&own.file(), "ro"), &["readonly"]);
    own.assert_nobody_is_connected();
}

#[test]
fn a_file_that_is_something_else_is_told_and_left_alone() {
    let own = Own::sqlite();
    let text = "not a database. ".repeat(1000);
    std::fs::write(own.file(), &text).unwrap();
    assert_does_not_start(&own.url, &["not a database"]);
    assert_eq!(std::fs::read_to_string(own.file()).unwrap(), text);
}

#[test]
fn a_database_that_is_damaged_is_told() {
    let own = Own::sqlite();
    common::with_service(own.settings(), async |address| common::set(address, "alice", "online").await);
    let mut bytes = std::fs::read(own.file()).unwrap();
    bytes[1024..].fill(0xff);
    std::fs::write(own.file(), bytes).unwrap();
    assert_does_not_start(&own.url, &["malformed"]);
}

on_both_databases! {
    fn a_database_of_a_newer_service_is_left_alone(own: Own) {
        common::with_service(own.settings(), async |address| common::set(address, "alice", "online").await);
        own.sql(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             SELECT 99, 'later', success, checksum, execution_time FROM _sqlx_migrations WHERE version = 1",
        );
        assert_does_not_start(&own.url, &["version 99", "newer"]);
        own.assert_nobody_is_connected();
    }

    fn a_service_that_cannot_listen_closes_the_database(own: Own) {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut settings = own.settings();
        settings.service.listeners.push(ListenerSettings::new(taken.local_addr().unwrap().into()));
        let test = logcontext::testing::start();
        let context = test.supervisor().context("startup").start();
        let runtime = common::runtime(&test);
        let error = runtime.block_on(Service::<Presence>::start(settings).in_context(context)).unwrap_err();
        let error = format!("{error}: {}", error.source().unwrap());
        assert!(error.contains("in use"), "{error}");
        // While the process, and its runtime, are still there.
        own.assert_nobody_is_connected();
        drop(runtime);
    }
}

#[test]
fn a_wrong_command_line_is_told_without_the_password_in_it() {
    let url = format!("postgres://bob:{PASSWORD}@db/presence");
    for arguments in [
        &["serve", &url][..],
        &["serve", "--databse", &url],
        &["serve", "--listen", &url],
        &["demo", "--database", &url, "--clients", "many"],
        &["demo", "--clients", &url],
        &[&url],
    ] {
        let (code, out, error) = run(arguments);
        assert_eq!(code, Some(2), "{error}");
        assert!(error.starts_with("error: "), "{error}");
        assert!(!out.contains(PASSWORD) && !error.contains(PASSWORD), "{error}");
    }
}

#[test]
fn the_help_does_not_show_what_the_environment_says() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence"));
    command.args(["serve", "--help"]).env("PRESENCE_DATABASE", format!("postgres://bob:{PASSWORD}@db/x"));
    let output = command.output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && out.contains("PRESENCE_DATABASE"), "{out}");
    assert!(!out.contains(PASSWORD), "{out}");
}

#[cfg(unix)]
#[test]
fn a_start_that_takes_long_is_ended_by_a_signal() {
    // Takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://bob:{PASSWORD}@{}/presence", silent.local_addr().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence"));
    command.args(["serve", "--listen", "127.0.0.1:0"]).env("PRESENCE_DATABASE", url);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let connection = silent.accept().unwrap();
    let kill = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {error}\n{out}", output.status);
    assert!(out.contains("SIGTERM") && !out.contains("listening"), "{out}");
    assert!(!out.contains("sentinel") && !out.contains(PASSWORD), "{out}");
    drop(connection);
}

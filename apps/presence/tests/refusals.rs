//! Every way in which a start can fail ends in one line, an exit code, and nothing left behind.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::net::TcpListener;

use common::on_both_databases;
use common::process::{Done, How, folder, presence, run, wait_until};

/// Is refused in the foreground and as a daemon, and leaves no file but its log.
#[track_caller]
fn is_refused(arguments: &[&str], code: i32, expected: &[&str]) {
    for how in How::ALL {
        let folder = folder();
        let done: Done = run(&mut presence(folder.path(), &how.arguments(arguments)));
        done.assert_refused(code, expected);
        assert_eq!(done.out, "");
        // As a daemon it is gone a moment after it has told.
        let left = || fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name());
        wait_until("nothing is left", || left().all(|name| name == "presence.log"));
        let log = fs::read_to_string(folder.path().join("presence.log")).unwrap_or_default();
        assert!(!log.contains("sentinel") && !log.contains("logcontext::diagnostics"), "{log}");
        assert!(!log.contains("hunter2") && !done.error.contains("hunter2"), "{done:?} {log}");
    }
}

const SOMEWHERE: [&str; 2] = ["--listen", "127.0.0.1:0"];
const IN_MEMORY: [&str; 2] = ["--database", "sqlite::memory:"];

#[test]
fn a_port_that_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listeners = format!("127.0.0.1:0,unix:presence.sock,{address}");
    is_refused(&["--listen", &listeners], 1, &["cannot listen on ", &address, "in use"]);
    is_refused(
        &[&SOMEWHERE[..], &["--admin-address", &address]].concat(),
        1,
        &["cannot listen on ", &address],
    );
}

#[test]
fn a_socket_that_cannot_be_made() {
    is_refused(&["--listen", "unix:no/such/folder.sock"], 1, &["cannot listen on unix:no/such/folder.sock"]);
}

#[test]
fn a_configuration_that_is_wrong() {
    is_refused(&["--config", "none.toml"], 2, &["none.toml"]);
    is_refused(&["--set", "log.frmat=json"], 2, &["log.frmat", "log.format"]);
    is_refused(&["--shutdown-deadline", "soon"], 2, &["--shutdown-deadline", "shutdown.deadline", "30s"]);
    is_refused(&["--log-filter", "presence=loud"], 2, &["log.filter", "loud"]);
    is_refused(&["--admin-address", "0.0.0.0:0"], 2, &["admin.token", "0.0.0.0:0"]);
}

#[test]
fn a_log_that_cannot_be_written() {
    is_refused(&["--log-target", "no/such/folder.log"], 1, &["no/such/folder.log"]);
}

#[test]
fn a_pid_file_that_cannot_be_made() {
    is_refused(&["--pid-file", "no/such/folder.pid"], 1, &["no/such/folder.pid"]);
}

#[test]
fn a_certificate_that_is_of_no_use() {
    let folder = folder();
    let (certificate, config) = (folder.path().join("x.pem"), folder.path().join("presence.toml"));
    fs::write(&certificate, "not a certificate").unwrap();
    let pem = certificate.display();
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls_certificate = \"{pem}\"\ntls_key = \"{pem}\"\n"
    );
    fs::write(&config, text).unwrap();
    is_refused(
        &["--config", config.to_str().unwrap()],
        1,
        &["cannot listen with TLS on 127.0.0.1:0", "x.pem"],
    );
}

#[test]
fn a_database_that_is_away() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://bob:hunter2@127.0.0.1:{port}/presence");
    is_refused(
        &[&SOMEWHERE[..], &["--database", &url]].concat(),
        1,
        &["cannot open the database", "refused"],
    );
    let file = "sqlite:no/such/folder.db?mode=rwc";
    is_refused(&[&SOMEWHERE[..], &["--database", file]].concat(), 1, &["cannot open the database"]);
}

#[test]
fn an_alias_and_its_key_cannot_differ_without_a_word() {
    // The same key twice on one command line: the later flag is not taken for granted.
    let folder = folder();
    let arguments = ["config", "show", "--log", "json", "--log-format", "text"];
    let done = run(&mut presence(folder.path(), &arguments));
    assert!(done.code == Some(2) && done.error.contains("log.format"), "{done:?}");
    let done = run(presence(folder.path(), &[&["config", "check"], &SOMEWHERE[..], &IN_MEMORY[..]].concat())
        .env("PRESENCE_LOGG", "json"));
    done.assert_refused(2, &["PRESENCE_LOGG"]);
}

on_both_databases! {
    fn a_migration_that_fails(own: Own) {
        // Somebody else's table is in the way.
        own.sql("CREATE TABLE users (id BIGINT)");
        is_refused(&[&SOMEWHERE[..], &["--database", &own.url]].concat(), 1, &["cannot open the database", "users"]);
        own.assert_nobody_is_connected();
    }
}

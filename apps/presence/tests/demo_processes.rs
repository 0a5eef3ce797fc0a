//! `presence demo --processes`, as it is run: who is killed, what is left, and what it says where it cannot run.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::Own;
use common::process::wait_until;
use logcontext_testservers::Redis;
use serde_json::Value;
use tempfile::TempDir;

/// Short, in a temporary folder of its own.
fn demo(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_presence"));
    command.args(["demo", "--processes", "--clients", "3"]).args(arguments);
    command.env_remove("RUST_BACKTRACE").env("TMPDIR", folder).stdin(Stdio::null());
    // Are meant for the service, and not for this.
    command.env("PRESENCE_DATABASE", "nonsense").env("PRESENCE_BUS", "nonsense");
    command
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    let output = demo(folder, arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(left_in(folder).is_empty(), "left behind: {:?}", left_in(folder));
    output
}

fn left_in(folder: &Path) -> Vec<std::ffi::OsString> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

/// The processes whose command line has this folder in it: those of a demo, and its broker.
fn processes_of(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap().as_bytes();
    let all = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_its = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.windows(folder.len()).any(|part| part == folder)
    };
    all.filter(is_its).collect()
}

/// What holds whoever was killed.
fn assert_nothing_lost(report: &Value) {
    assert_eq!(report["problems"], Value::Array(Vec::new()));
    let changes = &report["changes"];
    assert!(changes["acknowledged"].as_u64().unwrap() > 0, "{changes}");
    assert_eq!((&changes["lost"], &changes["not_acknowledged"]), (&0.into(), &0.into()));
    let copies = &report["copies"];
    assert_eq!((&copies["users"], &copies["different"]), (&15.into(), &0.into()));
    let [transactions, states] = ["transactions", "states"].map(|key| copies[key].as_u64().unwrap());
    assert!(0 < transactions && transactions <= states, "{copies}");
    let status = &report["status"];
    assert_eq!((status["processes"].as_array().unwrap().len(), &status["no_sums"]), (5, &Value::Null));
    let costs = status["costs"].as_array().unwrap();
    let label =
        |label: &str| costs.iter().find(|cost| cost["label"] == label).unwrap_or_else(|| panic!("{label}"));
    assert_eq!(label("PUT /_federation/send/{txn_id}")["failed"], 0);
    assert!(label("replication-PresenceChanged")["started"].as_u64().unwrap() > 0);
}

/// Of these the choices are an API process and a sender, each.
fn killed(report: &Value) -> &str {
    report["killed"]["name"].as_str().unwrap().split('-').next().unwrap()
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn nothing_is_lost_whoever_is_killed() {
    let redis = Redis::start().unwrap();
    let mut seen = Vec::new();
    for seed in ["2", "3"] {
        let folder = folder();
        let arguments = ["--seconds", "2", "--json", "--seed", seed, "--bus", redis.url()];
        let report: Value = serde_json::from_slice(&run(folder.path(), &arguments).stdout).unwrap();
        assert_nothing_lost(&report);
        assert_eq!(report["seed"], seed.parse::<u64>().unwrap());
        seen.push(killed(&report).to_owned());
        assert!(processes_of(folder.path()).is_empty());
    }
    seen.sort();
    assert_eq!(seen, ["api", "sender"]);
}

#[test]
#[ignore = "needs Redis and PostgreSQL: cargo xtask test"]
fn nothing_is_lost_on_postgres_either() {
    let own = Own::postgres();
    let redis = Redis::start().unwrap();
    let folder = folder();
    let arguments = ["--seconds", "2", "--json", "--database", &own.url, "--bus", redis.url()];
    let report: Value = serde_json::from_slice(&run(folder.path(), &arguments).stdout).unwrap();
    assert_nothing_lost(&report);
    own.assert_nobody_is_connected();
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn it_starts_a_broker_of_its_own_and_says_what_it_does() {
    let folder = folder();
    let output = run(folder.path(), &["--seconds", "1"]);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    for expected in ["api-1 ", "sender-2 ", "serve --role sender", "killed ", "starting it again"] {
        assert!(err.contains(expected), "{expected:?} is not in\n{err}");
    }
    for expected in [
        "presence status, ",
        "  sender  ",
        "  all  ",
        " 0 lost;",
        "hub two   15 of 15 users",
        "all ended as they should",
    ] {
        assert!(out.contains(expected), "{expected:?} is not in\n{out}");
    }
    assert!(out.lines().all(|line| line.chars().count() <= 100) && out.lines().count() < 50, "{out}");
    assert!(processes_of(folder.path()).is_empty());
}

/// A demo that would run for a minute, whose processes answer.
fn started(folder: &Path) -> Child {
    let mut demo = demo(folder, &["--seconds", "60"]);
    let mut demo = demo.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("changes acknowledged")), "{:?}", demo.wait());
    // Whatever it says from now on is for nobody, and that is no reason to end.
    assert!(processes_of(folder).len() > 6);
    demo
}

fn signal(id: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &id.to_string()]).status().unwrap().success());
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn all_of_its_processes_end_with_it_also_when_it_is_killed() {
    for name in ["KILL", "INT"] {
        let folder = folder();
        let mut demo = started(folder.path());
        signal(demo.id(), name);
        let status = demo.wait().unwrap();
        wait_until("all of them have ended", || processes_of(folder.path()).is_empty());
        // An interrupt ends the changes early, and all is looked at.
        assert_eq!(status.code(), if name == "INT" { Some(0) } else { None });
    }
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_process_that_dies_by_itself_is_noticed() {
    let folder = folder();
    let demo = started(folder.path());
    let of_api = |id: &u32| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        !line.contains("/bin/sh") && line.contains("api-2.toml")
    };
    let id = processes_of(folder.path()).into_iter().find(of_api).unwrap();
    signal(id, "KILL");
    let output = demo.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let kept = left_in(folder.path());
    assert_eq!(kept.len(), 1, "{kept:?}");
    wait_until("all of them have ended", || processes_of(folder.path()).is_empty());
}

#[test]
fn it_says_what_is_missing() {
    let folder = folder();
    let output = demo(folder.path(), &["--seconds", "1"]).env("PATH", folder.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    for expected in ["no redis-server or nats-server on the PATH", "install Redis or NATS", "--bus redis://"]
    {
        assert!(error.contains(expected), "{expected:?} is not in {error}");
    }
    let output =
        demo(folder.path(), &["--seconds", "1", "--bus", "redis://:hunter2@127.0.0.1:1/"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains(" could not start: "), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert!(processes_of(folder.path()).is_empty() && left_in(folder.path()).is_empty());
}

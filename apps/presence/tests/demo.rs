//! `presence demo`, as it is run.

mod common;

use std::process::{Command, Output};

use common::Own;
use serde_json::Value;

/// Runs it with a temporary folder of its own, in which it must leave nothing but its log.
fn demo(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_presence"))
        .args(["demo", "--seconds", "1"])
        .args(arguments)
        .env_remove("RUST_BACKTRACE")
        // Is meant for the service, and not for this.
        .env("PRESENCE_DATABASE", "nonsense")
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    let left: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.len() == 1 && left[0].to_str().unwrap().ends_with(".log"), "left behind: {left:?}");
    output
}

fn row<'a>(report: &'a Value, table: &str, label: &str) -> &'a Value {
    let rows = report[table].as_array().unwrap();
    rows.iter().find(|row| row["label"] == label).unwrap_or_else(|| panic!("no {label} in {rows:?}"))
}

#[test]
fn the_demo_shows_its_tables_and_its_books() {
    let output = demo(&[]);
    let out = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "requests by label",
        "PUT /presence/{user} ",
        "GET /presence/{user}/stream ",
        "POST /demo/burn ",
        "POST /demo/block ",
        "GET /demo/panic ",
        "POST /demo/notify ",
        "notify_nobody ",
        "GET /presence/{user}/history ",
        "txns",
        "in txns",
        "wait",
        "time_out_presence ",
        "prune_history ",
        "SQLite's own threads",
        "slow polls",
        "hub two      9 of 9 users as in hub one, ",
        "PUT /_federation/send/{txn_id}: ",
        "transaction_transmission-two ",
        "sender-* (16) ",
        "the second hub ",
        "diagnostics  none",
        "writing the log ",
        "the demo's clients ",
        "sentinel ",
        "unaccounted ",
        "100.00 %",
        "Processed request",
        "shut down gracefully",
    ] {
        assert!(out.contains(expected), "{expected:?} is not in\n{out}");
    }
    let (tables, lines) = out.split_once("out of the log").unwrap();
    assert!(tables.lines().all(|line| line.chars().count() <= 110), "wider than 110 columns:\n{tables}");
    assert!(lines.contains("/history HTTP/1.1") && lines.contains(" dbevts]"), "{lines}");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("presence on http://127.0.0.1:"), "{err}");
    assert!(!err.contains('\r') && !err.contains("panicked"), "{err}");
}

/// The report of a demo as JSON, looked at for what holds on every database.
fn report(arguments: &[&str]) -> Value {
    let output = demo(&[&["--clients", "3", "--json"], arguments].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"], Value::Array(Vec::new()));
    assert_eq!(report["diagnostics"], Value::Array(Vec::new()));
    assert_eq!(report["clients"], 3);
    let failing = row(&report, "background", "notify_nobody");
    assert!(failing["failed"].as_u64().unwrap() > 0, "{failing}");
    assert_eq!(failing["failed"], failing["count"]);

    for label in ["GET /presence/{user}/history", "PUT /presence/{user}", "GET /presence/{user}"] {
        let row = row(&report, "requests", label);
        let (count, txns) = (row["count"].as_u64().unwrap(), row["db_transactions"].as_u64().unwrap());
        // One each, but for those that are refused or left before.
        assert!(0 < txns && txns <= count, "{row}");
        assert!(row["db_transaction_time"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["db_wait"].is_number(), "{row}");
    }
    assert!(row(&report, "requests", "GET /presence/{user}/history")["db_rows"].as_u64().unwrap() > 0);
    assert_eq!(row(&report, "requests", "GET /demo/slow")["db_transactions"], 0);
    let time_outs = row(&report, "background", "time_out_presence");
    assert_eq!(time_outs["db_transactions"], time_outs["count"]);
    assert_balanced(&report["books"]);
    let second = &report["second_hub"];
    assert_eq!((&second["users"], &second["different"]), (&9.into(), &Value::Array(Vec::new())));
    let [transactions, states] = ["transactions", "states"].map(|key| second[key].as_u64().unwrap());
    assert!(0 < transactions && transactions <= states, "{second}");
    // One may come again where a hub has just been caught up with; not all of them.
    assert!(second["stale"].as_u64().unwrap() < transactions, "{second}");
    let sent = second["requests"].as_array().unwrap();
    let sent = sent.iter().find(|row| row["label"] == "PUT /_federation/send/{txn_id}").unwrap();
    assert!(sent["count"].as_u64().unwrap() >= transactions && sent["failed"] == 0, "{second}");
    report
}

/// All parts together are the process.
fn assert_balanced(books: &Value) {
    if books.is_null() {
        return;
    }
    let parts: f64 =
        books["parts"].as_array().unwrap().iter().map(|part| part["cpu"].as_f64().unwrap()).sum();
    let process = books["process"].as_f64().unwrap();
    assert!((parts / process - 1.0).abs() < 0.02, "parts {parts}, process {process}");
}

#[test]
fn the_demo_as_json_adds_up() {
    let report = report(&[]);
    assert!(report["books"].is_null() || report["books"]["by_drivers"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask test"]
fn the_demo_on_postgres_adds_up_and_leaves_no_connection() {
    let own = Own::postgres();
    report(&["--database", &own.url]);
    own.assert_nobody_is_connected();
}

#[test]
fn the_demo_on_a_file_keeps_it() {
    let own = Own::sqlite();
    demo(&["--clients", "3", "--database", &own.url]);
    own.assert_nobody_is_connected();
    assert_eq!(own.number("SELECT total FROM user_count"), 9);
}

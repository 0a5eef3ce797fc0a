//! `presence demo`, as it is run.

use std::process::{Command, Output};

use serde_json::Value;

fn demo(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_presence"))
        .args(["demo", "--seconds", "1"])
        .args(arguments)
        .env_remove("RUST_BACKTRACE")
        .env("TMPDIR", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    output
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
        "notify_nobody ",
        "time_out_presence ",
        "slow polls",
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
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.starts_with("presence on http://127.0.0.1:"), "{err}");
    assert!(!err.contains('\r') && !err.contains("panicked"), "{err}");
}

#[test]
fn the_demo_as_json_adds_up() {
    let output = demo(&["--clients", "3", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"], Value::Array(Vec::new()));
    assert_eq!(report["diagnostics"], Value::Array(Vec::new()));
    assert_eq!(report["clients"], 3);
    let failing = report["background"].as_array().unwrap().iter().find(|row| row["label"] == "notify_nobody");
    let failing = failing.unwrap();
    assert!(failing["failed"].as_u64().unwrap() > 0, "{failing}");
    assert_eq!(failing["failed"], failing["count"]);
    let books = &report["books"];
    if books.is_null() {
        return;
    }
    let parts: f64 =
        books["parts"].as_array().unwrap().iter().map(|part| part["cpu"].as_f64().unwrap()).sum();
    let process = books["process"].as_f64().unwrap();
    assert!((parts / process - 1.0).abs() < 0.02, "parts {parts}, process {process}");
}

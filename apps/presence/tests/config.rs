//! `presence config`: what is wrong with the configuration, and where each value is from.
#![cfg(unix)]

mod common;

use std::fs;

use common::process::{folder, presence, run};

const FILE: &str = "\
[log]
format = \"json\"
filter = \"info,sqlx=warn\"

[limits]
body_size = \"64KiB\"

[[listeners]]
address = \"127.0.0.1:8008\"

[[listeners]]
name = \"internal\"
address = \"unix:presence.sock\"

[database]
url = \"postgres://bob:hunter2@db/presence\"

[presence]
offline_after = \"10m\"
";

#[test]
fn each_value_is_shown_with_where_it_is_from_and_no_secret_is() {
    let folder = folder();
    fs::write(folder.path().join("presence.toml"), FILE).unwrap();
    fs::write(folder.path().join("token"), "s3cret\n").unwrap();
    let arguments = [
        "config",
        "show",
        "--config",
        "presence.toml",
        "--log-format",
        "text",
        "--admin-token-file",
        "token",
    ];
    let shown = run(presence(folder.path(), &arguments).env("PRESENCE_LIMITS_BODY_TIME", "5s"));
    assert_eq!((shown.code, &*shown.error), (Some(0), ""));
    for line in [
        "format = \"text\"  # --log-format",
        "filter = \"info,sqlx=warn\"  # presence.toml:3",
        "body_size = \"64KiB\"  # presence.toml:6",
        "body_time = \"5s\"  # PRESENCE_LIMITS_BODY_TIME",
        "address = \"unix:presence.sock\"  # presence.toml:13",
        "# url = \"postgres://bob:***@db/presence\"  # presence.toml:16",
        "offline_after = \"10m\"  # presence.toml:19",
        "unavailable_after = \"30s\"  # default",
        "deadline = \"10s\"  # default",
        "[runtime]",
        "# workers is not set  # default",
    ] {
        assert!(shown.out.lines().any(|shown| shown == line), "{line:?} is not in {}", shown.out);
    }
    assert!(!shown.out.contains("hunter2") && !shown.out.contains("s3cret"), "{}", shown.out);
}

#[test]
fn all_mistakes_are_told_a_line_each_with_key_file_and_line() {
    let folder = folder();
    let wrong = FILE
        .replace("json", "xml")
        .replace("64KiB", "big")
        .replace("offline_after", "ofline_after")
        .replace("127.0.0.1:8008", "localhost");
    fs::write(folder.path().join("presence.toml"), wrong).unwrap();
    for command in [&["config", "check"][..], &["config", "show"], &["serve"]] {
        let arguments = [command, &["--config", "presence.toml", "--presence-prune-every", "0s"]].concat();
        let checked = run(presence(folder.path(), &arguments).env("PRESENCE_RUNTIME_WORKERS", "0"));
        assert_eq!((checked.code, &*checked.out), (Some(2), ""), "{checked:?}");
        let lines: Vec<_> = checked.error.lines().collect();
        for (start, expected) in [
            ("error: presence.toml:2: log.format: expected ", "text"),
            ("error: presence.toml:6: limits.body_size: expected ", "64KiB"),
            ("error: presence.toml:9: listeners[0].address: expected ", "127.0.0.1:8008"),
            ("error: presence.toml:19: presence.ofline_after: ", "offline_after"),
            ("error: --presence-prune-every: presence.prune_every: expected ", "30s"),
            ("error: PRESENCE_RUNTIME_WORKERS: runtime.workers: expected ", "0"),
        ] {
            let line = lines.iter().find(|line| line.starts_with(start));
            assert!(line.is_some_and(|line| line.contains(expected)), "{start:?} {expected:?}: {lines:#?}");
        }
        assert_eq!(lines.len(), 6, "{lines:#?}");
        assert!(fs::read_dir(folder.path()).unwrap().count() == 1, "something was started");
    }
}

#[test]
fn what_does_not_go_together_is_told_by_the_key_that_was_given() {
    let folder = folder();
    let checked = run(presence(folder.path(), &["config", "check"]).env("PRESENCE_OFFLINE_AFTER", "1s"));
    let expected = "PRESENCE_OFFLINE_AFTER: presence.offline_after: expected no less than \
                    presence.unavailable_after, which is 30s";
    checked.assert_refused(2, &[expected]);
}

#[test]
fn what_is_right_is_said_to_be() {
    let folder = folder();
    fs::write(folder.path().join("presence.toml"), FILE).unwrap();
    let checked = run(presence(folder.path(), &["config", "check"]).env("PRESENCE_CONFIG", "presence.toml"));
    assert_eq!((checked.code, &*checked.error), (Some(0), ""));
    assert_eq!(checked.out, "the configuration is right\n");
}

//! What is in `deploy/`: accepted by the program that it is for, and of one piece.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::process::{folder, presence, run};
use tempfile::TempDir;

fn deploy(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file)
}

fn read(file: &str) -> String {
    fs::read_to_string(deploy(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The names of the files there that end so.
fn files(folder: &str, end: &str) -> Vec<String> {
    let files = fs::read_dir(deploy(folder)).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(end)).collect();
    names.sort();
    names
}

/// A configuration with secrets in place of those that a machine has.
fn with_secrets(file: &str) -> (TempDir, String) {
    let folder = folder();
    let secrets = [
        ("bus-url", "redis://127.0.0.1:6379/"),
        ("database-url", "postgres://presence:hunter2@127.0.0.1/presence"),
        ("admin-token", "hunter2"),
        ("hub-two", "hunter2"),
        ("one-and-two", "hunter2"),
    ];
    for (name, secret) in secrets {
        fs::write(folder.path().join(name), secret).unwrap();
    }
    let here = folder.path().to_str().unwrap();
    let text = read(file).replace("/etc/presence/secrets", here).replace("/run/secrets", here);
    fs::write(folder.path().join("config.toml"), &text).unwrap();
    (folder, text)
}

fn check(file: &str, flags: &[&str]) {
    let (folder, _) = with_secrets(file);
    let done =
        run(&mut presence(folder.path(), &[&["config", "check", "--config", "config.toml"], flags].concat()));
    assert_eq!(
        (done.code, &*done.out),
        (Some(0), "the configuration is right\n"),
        "{file} {flags:?}: {done:?}"
    );
}

fn seconds(text: &str, before: &str) -> Duration {
    let value = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}")).1;
    let value: String = value.chars().take_while(char::is_ascii_digit).collect();
    Duration::from_secs(value.parse().unwrap())
}

#[test]
fn every_configuration_is_right() {
    let (systemd, compose) = (files("systemd", ".toml"), files("compose", ".toml"));
    assert_eq!((systemd.len(), compose.len()), (2, 3));
    systemd.iter().for_each(|file| check(&format!("systemd/{file}"), &[]));
    compose.iter().for_each(|file| check(&format!("compose/{file}"), &[]));
}

#[test]
fn units_start_what_there_is_with_time_to_end() {
    for (unit, config, instance) in [
        ("systemd/presence-api@.service", "systemd/api.toml", "8001"),
        ("systemd/presence-sender@.service", "systemd/sender.toml", "1"),
    ] {
        let text = read(unit);
        let start =
            text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap().replace("%i", instance);
        let words: Vec<_> = start.split(' ').collect();
        let expected = format!("/etc/presence/{}", config.split_once('/').unwrap().1);
        assert_eq!(words[..4], ["/usr/local/bin/presence", "serve", "--config", &*expected]);
        check(config, &words[4..]);
        // What the status command looks at is where it tells of itself.
        let admin = words[words.iter().position(|word| *word == "--admin-address").unwrap() + 1];
        assert!(read(config).contains(&format!("\"{admin}\"")), "{admin} is not in {config}");
        let (_folder, config) = with_secrets(config);
        assert!(seconds(&text, "\nTimeoutStopSec=") > seconds(&config, "\ndeadline = \""), "{unit}");
        for line in ["Type=notify", "NoNewPrivileges=yes", "ProtectSystem=strict", "PartOf=presence.target"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in {unit}");
        }
    }
}

#[test]
fn containers_have_what_they_name_and_time_to_end() {
    let compose = read("compose/compose.yaml");
    for file in files("compose", ".toml") {
        assert!(compose.contains(&format!("./{file}:/etc/presence/config.toml:ro")), "{file} is not used");
        let (_folder, config) = with_secrets(&format!("compose/{file}"));
        assert!(seconds(&compose, "stop_grace_period: ") > seconds(&config, "\ndeadline = \""), "{file}");
        for process in ["api-1", "api-2", "sender-1", "sender-2", "hub-two"] {
            assert!(
                compose.contains(&format!("\n  {process}:\n"))
                    && config.contains(&format!("\"{process}:9009\""))
            );
        }
    }
    let script = read("compose/make-secrets.sh");
    for secret in ["admin-token", "database-password", "database-url", "one-and-two"] {
        assert!(
            compose.contains(&format!("{secret}: {{file: ./secrets/{secret}}}")) && script.contains(secret)
        );
    }
    assert!(
        compose.contains("dockerfile: deploy/compose/Dockerfile") && deploy("compose/Dockerfile").exists()
    );
}

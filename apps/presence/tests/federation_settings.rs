//! What can be said of other hubs, and how it is shown.
#![cfg(unix)]

mod common;

use std::fs;

use common::process::{Done, folder, presence, run};

const FILE: &str = "\
[presence.federation]
hub = \"one\"
retry_first = \"2s\"

[presence.federation.hubs.two]
url = \"http://127.0.0.1:8009\"
secret = \"hunter2\"

[presence.federation.hubs.three]
url = \"http://three/\"
secret_file = \"secret\"
follows_all = true
";

fn config(what: &str, file: &str) -> Done {
    let folder = folder();
    fs::write(folder.path().join("presence.toml"), file).unwrap();
    fs::write(folder.path().join("secret"), "hunter3\n").unwrap();
    let done = run(&mut presence(folder.path(), &["config", what, "--config", "presence.toml"]));
    assert!(!format!("{done:?}").contains("hunter"), "a secret is shown: {done:?}");
    done
}

#[test]
fn other_hubs_are_shown_but_for_their_secrets() {
    let shown = config("show", FILE);
    assert_eq!((shown.code, &*shown.error), (Some(0), ""));
    for line in [
        "hub = \"one\"  # presence.toml:2",
        "retry_first = \"2s\"  # presence.toml:3",
        "retry_limit = \"1h\"  # default",
        "timeout = \"10s\"  # default",
        "stale_after = \"30m\"  # default",
        "[presence.federation.hubs.two]",
        "url = \"http://127.0.0.1:8009\"  # presence.toml:6",
        "# secret = \"***\"  # presence.toml:7",
        "follows_all = true  # presence.toml:12",
    ] {
        assert!(shown.out.lines().any(|shown| shown == line), "{line:?} is not in {}", shown.out);
    }
}

#[test]
fn each_mistake_is_told_with_key_file_and_line() {
    for (right, wrong, expected) in [
        (
            "hub = \"one\"",
            "hub = \"One\"",
            "presence.toml:2: presence.federation.hub: expected the name of a hub",
        ),
        (
            "hub = \"one\"\n",
            "\n",
            "presence.federation.hub: expected a name for this hub, as there are others",
        ),
        ("hubs.two", "hubs.Two", "presence.federation.hubs.Two: expected the name of a hub"),
        ("hubs.two", "hubs.one", "presence.federation.hubs.one: expected the name of another hub"),
        ("2s", "2h", "presence.federation.retry_limit: expected no less than retry_first, which is 2h"),
        (
            "http://127",
            "https://127",
            "presence.toml:6: presence.federation.hubs.two.url: expected the URL of a hub",
        ),
        (
            "http://127.0.0.1:8009",
            "http://u:hunter4@two",
            "presence.federation.hubs.two.url: expected the URL",
        ),
        ("secret = \"hunter2\"", "", "presence.federation.hubs.two.secret"),
        ("\"hunter2\"", "\"hunter3\"", "secret: expected a secret that no other hub has"),
        ("\"hunter2\"", "\"hunter\\u0007\"", "secret: expected a secret of visible ASCII characters"),
        ("follows_all", "folows_all", "presence.toml:12: presence.federation.hubs.three.folows_all"),
    ] {
        let file = FILE.replacen(right, wrong, 1);
        assert_ne!(file, FILE);
        let checked = config("check", &file);
        assert_eq!(checked.code, Some(2), "{wrong}: {checked:?}");
        assert!(checked.error.contains(expected), "{expected:?} is not in {}", checked.error);
    }
}

#[test]
fn without_a_name_a_hub_does_not_federate() {
    let checked = config("check", "[presence.federation]\nhub = \"\"\n");
    assert_eq!((checked.code, &*checked.error), (Some(0), ""));
}

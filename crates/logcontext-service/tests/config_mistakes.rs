//! What is said of each kind of mistake, to the word.
#![cfg(unix)]

mod config_common;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use config_common::{Folder, load, mistakes, mistakes_with, schema};
use logcontext_service::config::{Origin, Sources};

#[test]
fn a_value_of_another_type_is_told_with_what_was_expected() {
    for (text, told) in [
        (
            "workers = \"four\"",
            "presence.toml:1: workers: expected a whole number from 0 to 65535, found \"four\"",
        ),
        ("workers = 65536", "presence.toml:1: workers: expected a whole number from 0 to 65535, found 65536"),
        ("workers = 1.5", "presence.toml:1: workers: expected a whole number from 0 to 65535, found 1.5"),
        ("verbose = 1", "presence.toml:1: verbose: expected true or false, found 1"),
        ("ratio = []", "presence.toml:1: ratio: expected a number, found a list"),
        ("log = 3", "presence.toml:1: log: expected a table"),
        ("admins = {}", "presence.toml:1: admins: expected a list, found a table"),
        ("labels = []", "presence.toml:1: labels: expected a table, found a list"),
        (
            "\n[presence]\noffline_timeout = \"soon\"",
            "presence.toml:3: presence.offline_timeout: expected a time of more than nothing such as 30s or 5m, found \"soon\"",
        ),
        (
            "presence.offline_timeout = \"0s\"",
            "presence.toml:1: presence.offline_timeout: expected a time of more than nothing such as 30s or 5m, found \"0s\"",
        ),
        (
            "shutdown_deadline = 10",
            "presence.toml:1: shutdown_deadline: expected a time such as 30s or 5m, found 10",
        ),
        (
            "[limits]\nbody_size = \"big\"",
            "presence.toml:2: limits.body_size: expected a size such as 64KiB or 1MiB, found \"big\"",
        ),
        (
            "limits.body_size = -1",
            "presence.toml:1: limits.body_size: expected a size such as 64KiB or 1MiB, found -1",
        ),
        (
            "limits.connections = 0",
            "presence.toml:1: limits.connections: expected a whole number from 1 to 4294967295, found 0",
        ),
        ("[log]\nformat = \"jsn\"", "presence.toml:2: log.format: expected text or json, found \"jsn\""),
        (
            "[admin]\naddress = \"localhost\"",
            "presence.toml:2: admin.address: expected an address with a port such as 127.0.0.1:8008, found \"localhost\"",
        ),
        (
            "[database]\nurl = \"presence.db\"",
            "presence.toml:2: database.url: expected the URL of a database such as sqlite:data.db?mode=rwc or postgres://user@host/database, found \"presence.db\"",
        ),
    ] {
        assert_eq!(mistakes(text), told, "{text}");
    }
}

#[test]
fn an_item_of_a_list_is_told_by_its_place_and_line() {
    assert_eq!(
        mistakes("admins = [\n  1,\n  2,\n  \"x\",\n  4,\n  true,\n]"),
        "presence.toml:4: admins[2]: expected a whole number, found \"x\"\n\
         presence.toml:6: admins[4]: expected a whole number, found true"
    );
    assert_eq!(
        mistakes(
            "[[listeners]]\naddress = \"127.0.0.1:1\"\nadress = 1\n[[listeners]]\nname = \"x\"\n[[listeners]]\naddress = 5"
        ),
        "presence.toml:3: listeners[0].adress: unknown key, did you mean listeners[0].address?\n\
         presence.toml:4: listeners[1].address: expected a value, found none\n\
         presence.toml:7: listeners[2].address: expected an address with a port such as 127.0.0.1:8008, found 5"
    );
    assert_eq!(
        mistakes("listeners = [\"127.0.0.1:1\", \"here\", 5]"),
        "presence.toml:1: listeners[1]: expected an address with a port such as 127.0.0.1:8008, found \"here\"\n\
         presence.toml:1: listeners[2]: expected text or a table, found 5"
    );
}

#[test]
fn unknown_keys_are_refused_with_what_was_probably_meant() {
    for (text, told) in [
        ("\nwrokers = 1", "presence.toml:2: wrokers: unknown key, did you mean workers?"),
        ("log_format = 1", "presence.toml:1: log_format: unknown key, did you mean log.format?"),
        ("[log]\nformt = 1", "presence.toml:2: log.formt: unknown key, did you mean log.format?"),
        ("[databse]\nurl = \"x:y\"", "presence.toml:1: databse: unknown key, did you mean database?"),
        ("[log]\ncolour = 1", "presence.toml:2: log.colour: unknown key, expected format or filter"),
        ("[tls]\nx = 1", "presence.toml:2: tls.x: unknown key, expected certificate"),
        (
            "\"a.b\" = 1",
            "presence.toml:1: \"a.b\": unknown key, expected one of name, workers, verbose, ratio, \
           shutdown_deadline, labels, admins, log, limits, listeners, tls, hooks",
        ),
        (
            "hooks = [{ name = \"a\", tken = \"hunter2\" }]",
            "presence.toml:1: hooks[0].tken: unknown key, did you mean hooks[0].token?",
        ),
    ] {
        assert_eq!(mistakes(text), told, "{text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_sources() {
    let sources = Sources::default()
        .flag("log-format", "jsn")
        .variable("PRESENCE_WORKERS", "many")
        .variable("PRESENCE_LOGG", "json")
        .variable("PRESENCE_ADMIN_ADDRESS", "here");
    assert_eq!(
        mistakes_with(
            "verbose = 3\nratoi = 1\n[presence]\noffline_timeout = \"soon\"\n[log]\nfilter = 3",
            sources
        ),
        "presence.toml:1: verbose: expected true or false, found 3\n\
         presence.toml:2: ratoi: unknown key, did you mean ratio?\n\
         presence.toml:4: presence.offline_timeout: expected a time of more than nothing such as 30s or 5m, found \"soon\"\n\
         presence.toml:6: log.filter: expected text, found 3\n\
         PRESENCE_ADMIN_ADDRESS: admin.address: expected an address with a port such as 127.0.0.1:8008, found \"here\"\n\
         PRESENCE_LOGG: unknown variable, did you mean PRESENCE_LOG?\n\
         PRESENCE_WORKERS: workers: expected a whole number from 0 to 65535, found \"many\"\n\
         --log-format: log.format: expected text or json, found \"jsn\""
    );
}

#[test]
fn a_file_that_is_not_toml_is_told_by_line_without_what_is_in_it() {
    assert_eq!(
        mistakes("workers = 1\nworkers = 2\n[log]\n[log]\n"),
        "presence.toml:2: not TOML: duplicate key\npresence.toml:4: not TOML: duplicate key"
    );
    let told = mistakes("[admin]\ntoken = hunter2\n");
    assert!(told.starts_with("presence.toml:2: not TOML: "), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn of_a_file_that_cannot_be_read_one_line_is_told() {
    let folder = Folder::new();
    let told = |path: std::path::PathBuf| {
        let errors = schema().load(&Sources::default().file(path)).unwrap_err();
        folder.short(&errors.to_string())
    };
    assert_eq!(told(folder.path("gone.toml")), "gone.toml: there is no such file");
    std::fs::create_dir(folder.path("folder")).unwrap();
    assert_eq!(told(folder.path("folder")), "folder: expected a file, found a folder");
    assert_eq!(
        told(folder.write("latin", b"workers = 1\nname = \"\xe9\"")),
        "latin: expected text in UTF-8, found something else in line 2"
    );
    assert_eq!(
        told(folder.write("large", vec![b'#'; (1 << 20) + 1])),
        "large: expected no more than 1MiB, found a larger file"
    );
    schema().load(&Sources::default().file(folder.write("just", vec![b'#'; 1 << 20]))).unwrap();
    assert_eq!(told(folder.path("a\nb")), "a\\nb: there is no such file");
}

#[test]
fn nothing_is_checked_against_a_file_that_could_not_be_read() {
    // The token may be in the file.
    let sources = Sources::default().variable("PRESENCE_ADMIN_ADDRESS", "0.0.0.0:1");
    let told = mistakes_with("[admin\n", sources);
    assert!(!told.contains("admin.token"), "{told}");
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let folder = Folder::new();
    let path = folder.write("presence.toml", "workers = 7");
    let config = schema().load(&Sources::default().variable("PRESENCE_CONFIG", &path)).unwrap();
    assert_eq!(config.file(), Some(&*path));
    assert_eq!(config.origin("workers"), &Origin::File { path: path.into(), line: Some(1) });
    let errors = schema().load(&Sources::default().variable("PRESENCE_CONFIG", "")).unwrap_err();
    assert_eq!(errors.to_string(), "PRESENCE_CONFIG: expected the name of a file, found \"\"");
}

#[test]
fn variables_that_are_nobodys_are_refused_and_those_of_others_are_not() {
    let told =
        |name: &str| schema().load(&Sources::default().variable(name, "hunter2")).map_err(|e| e.to_string());
    assert_eq!(
        told("PRESENCE_LOG_FORMATT").unwrap_err(),
        "PRESENCE_LOG_FORMATT: unknown variable, did you mean PRESENCE_LOG_FORMAT?"
    );
    assert_eq!(told("PRESENCE_").unwrap_err(), "PRESENCE_: unknown variable");
    assert_eq!(told("PRESENCE_SERVICE_HOST").unwrap_err(), "PRESENCE_SERVICE_HOST: unknown variable");
    told("PRESENCE_TEST_POSTGRES").unwrap();
    told("PRESENCE_HOME").unwrap();
    told("PRESENCE_HOMER").unwrap_err();
    told("PRESENCE").unwrap();
    told("presence_workers").unwrap();
}

#[test]
fn variables_that_kubernetes_makes_for_a_service_of_the_same_name_are_not_ours() {
    let sources = || Sources::default().variable("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    let links =
        ["SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_8008_TCP", "PORT_8008_TCP_ADDR"];
    for link in links {
        schema().load(&sources().variable(format!("PRESENCE_{link}"), "x")).unwrap();
        schema().load(&sources().variable(format!("PRESENCE_CANARY_{link}"), "x")).unwrap();
    }
    schema().load(&sources().variable("PRESENCE_PORTER", "x")).unwrap_err();
    // A key of that name stays one.
    schema().load(&sources().variable("PRESENCE_WORKERS", "x")).unwrap_err();
}

#[test]
fn what_is_not_unicode_is_told_and_nothing_of_it() {
    let bytes = || OsString::from_vec(b"hunter2\xff".to_vec());
    let sources = Sources::default()
        .variable("PRESENCE_NAME", bytes())
        .variable("PRESENCE_ADMIN_TOKEN", bytes())
        .variable(OsString::from_vec(b"PRESENCE_\xff\x1b".to_vec()), "1")
        .variable("OTHER", bytes())
        .flag("log-filter", bytes())
        .flag("set", bytes());
    assert_eq!(
        schema().load(&sources).unwrap_err().to_string(),
        "PRESENCE_ADMIN_TOKEN: admin.token: expected text in UTF-8\n\
         PRESENCE_NAME: name: expected text in UTF-8\n\
         PRESENCE_\u{fffd}\\u001b: unknown variable\n\
         --log-filter: log.filter: expected text in UTF-8\n\
         --set: expected KEY=VALUE, as text in UTF-8"
    );
}

#[test]
fn a_key_that_one_source_gives_twice_is_told() {
    let sources = Sources::default()
        .variable("PRESENCE_LOG", "json")
        .variable("PRESENCE_LOG_FORMAT", "text")
        .flag("listen", "127.0.0.1:1")
        .flag("set", "listeners=127.0.0.1:1")
        .flag("workers", "1")
        .flag("workers", "2");
    assert_eq!(
        schema().load(&sources).unwrap_err().to_string(),
        "PRESENCE_LOG_FORMAT: log.format: is given by PRESENCE_LOG too\n\
         --set: listeners: is given by --listen too\n\
         --workers: workers: expected one value, found more"
    );
}

#[test]
fn set_tells_unknown_keys_and_what_is_no_pair() {
    let told = |text: &str| schema().load(&Sources::default().flag("set", text)).unwrap_err().to_string();
    assert_eq!(told("log.formt=json"), "--set: log.formt: unknown key, did you mean log.format?");
    assert_eq!(told("log.format"), "--set: expected KEY=VALUE, as text in UTF-8");
    assert_eq!(told("log=x"), "--set: log: expected a key of this table");
    assert_eq!(told("log.format=jsn"), "--set: log.format: expected text or json, found \"jsn\"");
    assert_eq!(told("\u{1b}=1"), "--set: \\u001b: unknown key");
}

#[test]
fn flags_that_there_are_not_are_told() {
    let errors = schema().load(&Sources::default().flag("colour", "1")).unwrap_err();
    assert_eq!(errors.to_string(), "--colour: unknown flag");
}

#[test]
fn a_check_is_told_with_the_origin_of_the_key_at_fault() {
    assert_eq!(
        mistakes(
            "name = \"x\"\n[[listeners]]\naddress = \"127.0.0.1:1\"\n\n[[listeners]]\naddress = \"127.0.0.1:1\"\ntls_certificate = \"a.pem\""
        ),
        "presence.toml:5: listeners[1].tls_key: expected a file with the key of tls_certificate"
    );
    assert_eq!(
        mistakes_with("", Sources::default().variable("PRESENCE_WORKERS", "65")),
        "PRESENCE_WORKERS: workers: expected no more than 64, found 65"
    );
    assert_eq!(
        mistakes("\n[admin]\naddress = \"0.0.0.0:1\""),
        "presence.toml:2: admin.token: expected a token, for admin.address is 0.0.0.0:1"
    );
    // A secret is told by nobody.
    assert_eq!(
        mistakes("[admin]\ntoken = \"weak-hunter2\""),
        "presence.toml:2: admin.token: expected a better one than ***"
    );
}

#[test]
fn what_is_found_out_later_is_told_in_the_same_way() {
    let config = load("workers = 7\n\n[admin]\ntoken = \"hunter2\"");
    let told = |key: &str| {
        let told = config.refuse(key, "something else than hunter2").to_string();
        told.rsplit_once('/').map_or(told.as_str(), |(_, line)| line).to_owned()
    };
    assert_eq!(told("workers"), "presence.toml:1: workers: expected something else than ***, found 7");
    assert_eq!(told("admin.token"), "presence.toml:4: admin.token: expected something else than ***");
    assert_eq!(
        told("presence.offline_timeout"),
        "default: presence.offline_timeout: expected something else than ***"
    );
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    assert_eq!(
        mistakes("workers = \"\\u001b[2J\\n\u{202e}\"\n\"\\u001b\" = 1\n[log]\nformat=\"\u{200b}\""),
        "presence.toml:1: workers: expected a whole number from 0 to 65535, found \"\\u001b[2J\\n\\u202e\"\n\
         presence.toml:2: \"\\u001b\": unknown key, expected one of name, workers, verbose, ratio, \
         shutdown_deadline, labels, admins, log, limits, listeners, tls, hooks\n\
         presence.toml:4: log.format: expected text or json, found \"\\u200b\""
    );
}

#[test]
fn a_long_value_is_cut() {
    let told = mistakes(&format!("workers = \"{}\"", "x".repeat(10_000)));
    assert!(told.len() < 200, "{told}");
    assert!(told.ends_with("x...\""), "{told}");
}

#[test]
fn after_a_hundred_mistakes_the_rest_is_not_looked_for() {
    let text: String = (0..20_000).map(|n| format!("unknown-{n} = 1\n")).collect();
    let told = mistakes(&text);
    assert_eq!(told.lines().count(), 101);
    assert!(told.ends_with("\nand more"), "{told}");
}

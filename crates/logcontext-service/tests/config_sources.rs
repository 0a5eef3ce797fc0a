//! Which source wins, and what text from the environment and the command line becomes.

mod config_common;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Command;
use config_common::{Folder, Format, Service, all, load, schema};
use logcontext_service::config::{Config, Origin, Schema, Sources};

fn from(sources: &Sources) -> Config {
    schema().load(sources).unwrap_or_else(|errors| panic!("{errors}"))
}

fn service(sources: &Sources) -> Service {
    from(sources).get("").unwrap()
}

/// As a process with these arguments.
fn parse(schema: &Schema, args: &[&str]) -> Sources {
    let args = [&["presence"], args].concat();
    let matches = Command::new("presence").args(schema.args()).try_get_matches_from(args).unwrap();
    Sources { env: Vec::new(), ..schema.sources(&matches) }
}

#[test]
fn without_sources_all_is_by_default() {
    let config = from(&Sources::default());
    assert_eq!(all(&config), Default::default());
    assert_eq!(config.origin("log.format"), &Origin::Default);
    assert_eq!(config.file(), None);
}

#[test]
fn file_then_environment_then_command_line() {
    let folder = Folder::new();
    let path = folder.write("presence.toml", "workers = 1\nname = \"file\"\n[log]\nfilter = \"file\"\n");
    let line = |line| Origin::File { path: path.as_path().into(), line: Some(line) };
    let file = Sources::default().file(&path);
    let env = file.clone().variable("PRESENCE_WORKERS", "2").variable("PRESENCE_NAME", "env");
    let flag = env.clone().flag("workers", "3");
    for (sources, workers, origin) in [
        (file, 1, line(1)),
        (env, 2, Origin::Variable("PRESENCE_WORKERS".into())),
        (flag, 3, Origin::Flag("--workers".into())),
    ] {
        let config = from(&sources);
        assert_eq!(config.get::<Service>("").unwrap().workers, workers);
        assert_eq!(config.origin("workers"), &origin);
        assert_eq!(config.origin("log.filter"), &line(4));
        assert_eq!(config.get::<Service>("").unwrap().log.filter, "file");
    }
}

#[test]
fn a_bad_value_is_told_even_if_a_later_source_has_a_good_one() {
    let sources = Sources::default()
        .variable("PRESENCE_WORKERS", "2")
        .variable("PRESENCE_LISTEN", "127.0.0.1:1")
        .variable("PRESENCE_RATIO", "half")
        .variable("PRESENCE_ADMIN_TOKEN", "hunter2")
        .flag("ratio", "0.1")
        .flag("set", "labels.a=1");
    let file = "workers = \"many\"\nverbose = 3\nlabels.a = 1\nadmin.token = 5\n[[listeners]]\naddress = \"here\"\n[[listeners]]";
    assert_eq!(
        config_common::mistakes_with(file, sources),
        "presence.toml:1: workers: expected a whole number from 0 to 65535, found \"many\"\n\
         presence.toml:2: verbose: expected true or false, found 3\n\
         presence.toml:3: labels.a: expected text, found 1\n\
         presence.toml:4: admin.token: expected a secret in plain text\n\
         presence.toml:6: listeners[0].address: expected an address with a port such as 127.0.0.1:8008, found \"here\"\n\
         presence.toml:7: listeners[1].address: expected a value, found none\n\
         PRESENCE_RATIO: ratio: expected a number, found \"half\""
    );
}

#[test]
fn text_is_what_the_type_asks_for() {
    let service = service(
        &Sources::default()
            .variable("PRESENCE_NAME", "0123")
            .variable("PRESENCE_VERBOSE", "true")
            .variable("PRESENCE_RATIO", "1")
            .variable("PRESENCE_SHUTDOWN_DEADLINE", "1h 30m")
            .variable("PRESENCE_ADMINS", " 1, -2 ,3,")
            .variable("PRESENCE_LOG_FORMAT", "json")
            .variable("PRESENCE_LIMITS_CONNECTIONS", "17")
            .variable("PRESENCE_LIMITS_BODY_SIZE", "1.5MiB")
            .variable("PRESENCE_LABELS", "{ eu = \"1\", \"a.b\" = \"2\" }")
            .variable("PRESENCE_TLS_CERTIFICATE", "true")
            .flag("set", "labels.us=3"),
    );
    assert_eq!(service.name, "0123");
    assert!(service.verbose);
    assert_eq!(service.ratio.to_bits(), 1f64.to_bits());
    assert_eq!(service.shutdown_deadline.get(), Duration::from_secs(5_400));
    assert_eq!(service.admins, [1, -2, 3]);
    assert_eq!(service.log.format, Format::Json);
    assert_eq!(service.limits.connections.map(u32::from), Some(17));
    assert_eq!(service.limits.body_size.bytes(), 1_572_864);
    let labels = [("eu", "1"), ("a.b", "2"), ("us", "3")].map(|(key, of)| (key.to_owned(), of.to_owned()));
    assert_eq!(service.labels, BTreeMap::from(labels));
    assert_eq!(service.tls.unwrap().certificate.to_str(), Some("true"));
}

#[test]
fn empty_text_is_no_value_where_there_may_be_none() {
    let folder = Folder::new();
    let path = folder.write("presence.toml", "limits.connections = 5\nadmins = [1]\nname = \"x\"\n");
    let sources = Sources::default()
        .file(path)
        .variable("PRESENCE_LIMITS_CONNECTIONS", "")
        .variable("PRESENCE_ADMINS", "")
        .variable("PRESENCE_NAME", "");
    let service = service(&sources);
    assert_eq!((service.limits.connections, service.admins.len(), &*service.name), (None, 0, ""));
    let errors = schema().load(&Sources::default().variable("PRESENCE_WORKERS", "")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "PRESENCE_WORKERS: workers: expected a whole number from 0 to 65535, found \"\""
    );
}

#[test]
fn listeners_are_tables_or_addresses_or_both() {
    let addresses = |sources: &Sources| -> Vec<String> {
        service(sources).listeners.iter().map(|listener| listener.address.to_string()).collect()
    };
    let text = "listeners = [\"127.0.0.1:1\", { address = \"[::1]:2\", name = \"two\" }]";
    let service: Service = load(text).get("").unwrap();
    assert_eq!(service.listeners[0].address.port(), 1);
    assert_eq!(service.listeners[1].name.as_deref(), Some("two"));

    for text in [
        "127.0.0.1:1,[::1]:2",
        "[\"127.0.0.1:1\", \"[::1]:2\"]",
        "[\"127.0.0.1:1\", { address = \"[::1]:2\" }]",
    ] {
        let sources = Sources::default().variable("PRESENCE_LISTEN", text);
        assert_eq!(addresses(&sources), ["127.0.0.1:1", "[::1]:2"], "{text}");
    }
    let one = Sources::default().variable("PRESENCE_LISTEN", "[::1]:2");
    assert_eq!(addresses(&one), ["[::1]:2"]);
    let table = Sources::default().variable("PRESENCE_LISTEN", "{ address = \"[::1]:2\" }");
    assert_eq!(addresses(&table), ["[::1]:2"]);

    // What is later takes the place of the earlier list as a whole; a flag may be repeated.
    let schema = schema();
    let args = ["--listen", "127.0.0.1:3", "--listen", "127.0.0.1:4,127.0.0.1:5"];
    let sources = parse(&schema, &args).variable("PRESENCE_LISTEN", "127.0.0.1:1");
    assert_eq!(addresses(&sources), ["127.0.0.1:3", "127.0.0.1:4", "127.0.0.1:5"]);
    let config = from(&sources);
    assert_eq!(config.origin("listeners"), &Origin::Flag("--listen".into()));
    assert_eq!(config.origin("listeners[2]"), &Origin::Flag("--listen".into()));
}

#[test]
fn an_item_of_a_list_in_text_is_told_by_its_place() {
    let told = |text: &str| {
        schema().load(&Sources::default().variable("PRESENCE_LISTEN", text)).unwrap_err().to_string()
    };
    let expected = "expected an address with a port such as 127.0.0.1:8008, found";
    assert_eq!(
        told("here,127.0.0.1:1,there"),
        format!(
            "PRESENCE_LISTEN: listeners[0]: {expected} \"here\"\nPRESENCE_LISTEN: listeners[2]: {expected} \"there\""
        )
    );
    assert_eq!(
        told("[\"127.0.0.1:1\", { address = \"here\" }]"),
        format!("PRESENCE_LISTEN: listeners[1].address: {expected} \"here\"")
    );
}

#[test]
fn short_forms_are_of_the_same_key() {
    let config = from(
        &Sources::default()
            .variable("PRESENCE_LOG", "json")
            .variable("PRESENCE_DATABASE", "sqlite:env.db")
            .flag("database", "sqlite:flag.db"),
    );
    assert_eq!(config.origin("log.format"), &Origin::Variable("PRESENCE_LOG".into()));
    assert_eq!(config.origin("database.url"), &Origin::Flag("--database".into()));
    assert_eq!(all(&config).1.url.with_password(), "sqlite:flag.db");
}

#[test]
fn of_two_variables_with_one_name_the_first_counts() {
    let sources = Sources::default().variable("PRESENCE_NAME", "a").variable("PRESENCE_NAME", "b");
    assert_eq!(service(&sources).name, "a");
}

#[test]
fn a_table_that_is_given_twice_over_is_put_together() {
    let folder = Folder::new();
    let path = folder.write("presence.toml", "[labels]\na = \"1\"\nb = \"2\"\n");
    let sources = Sources::default().file(path).flag("set", "labels.b=3").flag("set", "labels.c=4");
    let labels = service(&sources).labels;
    assert_eq!(labels.into_values().collect::<Vec<_>>(), ["1", "3", "4"]);
}

#[test]
fn flags_are_read_by_clap_and_refused_by_us() {
    let schema = schema();
    let sources =
        parse(&schema, &["--config", "a.toml", "--verbose", "--ratio=-1", "--set", "log.format=json"]);
    assert_eq!(sources.file.as_deref(), Some("a.toml".as_ref()));
    let flags: Vec<_> = sources.flags.iter().map(|(name, text)| (&**name, text.to_str().unwrap())).collect();
    assert_eq!(flags, [("ratio", "-1"), ("verbose", "true"), ("set", "log.format=json")]);
    let errors = schema.load(&parse(&schema, &["--workers", "many", "--verbose=maybe"])).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "--verbose: verbose: expected true or false, found \"maybe\"\n\
         --workers: workers: expected a whole number from 0 to 65535, found \"many\""
    );
}

#[test]
fn flags_of_a_subcommand_that_has_them_not_are_not_given() {
    let schema = schema();
    let matches = Command::new("presence").try_get_matches_from(["presence"]).unwrap();
    assert!(schema.sources(&matches).flags.is_empty());
}

#[test]
fn the_process_has_an_environment() {
    let schema = schema();
    let matches = Command::new("presence").args(schema.args()).try_get_matches_from(["presence"]).unwrap();
    let here: Vec<_> = std::env::vars_os().collect();
    assert!(!here.is_empty());
    assert_eq!(schema.sources(&matches).env, here);
}

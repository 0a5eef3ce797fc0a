//! What holds of any input: no panic, no secret told, and what is shown means the same.
#![cfg(unix)]

mod config_common;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use config_common::{Folder, all, schema};
use logcontext_service::config::{PositiveTime, Size, Sources, Time, without_passwords};
use proptest::collection::vec;
use proptest::prelude::*;

/// No part of a message or of a key, and found in any text.
const SECRET: &str = "Zx9-hunter2-Qy7";

const KEYS: [&str; 22] = [
    "name",
    "workers",
    "verbose",
    "ratio",
    "shutdown_deadline",
    "labels",
    "labels.a",
    "admins",
    "log",
    "log.format",
    "log.filter",
    "limits.body_size",
    "limits.connections",
    "listeners",
    "tls",
    "tls.certificate",
    "hooks",
    "database.url",
    "database.passwords",
    "database.passwords.a",
    "admin.address",
    "presence.offline_timeout",
];

fn toml_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[0-9a-z :./,@-]{0,12}".prop_map(|text| format!("{text:?}")),
        any::<String>().prop_map(|text| toml::Value::String(text).to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| toml::Value::Float(number).to_string()),
        any::<bool>().prop_map(|is| is.to_string()),
        Just("2026-11-21T10:00:00Z".to_owned()),
        Just("99999999999999999999999999999999999999999999999".to_owned()),
        Just("\"30s\"".to_owned()),
        Just("\"1MiB\"".to_owned()),
        Just("\"127.0.0.1:1\"".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            (proptest::sample::select(vec!["address", "name", "token", "token_file", "a", "\"b.c\""]), inner)
                .prop_map(|(key, value)| format!("{{ {key} = {value} }}")),
        ]
    })
}

/// A key with a value that it takes.
fn right() -> impl Strategy<Value = (String, String)> {
    let text =
        || prop_oneof![any::<String>(), "[a-z]{0,8}"].prop_map(|text| toml::Value::String(text).to_string());
    let of = |key: &'static str, value: BoxedStrategy<String>| {
        value.prop_map(move |value| (key.to_owned(), value))
    };
    let one =
        |values: &[&str]| proptest::sample::select(values.iter().map(|&v| v.to_owned()).collect::<Vec<_>>());
    let address = || one(&["\"127.0.0.1:1\"", "\"[::1]:2\""]);
    let listener = (address(), text()).prop_map(|(at, name)| format!("{{ address = {at}, name = {name} }}"));
    prop_oneof![
        of("name", text().boxed()),
        of("workers", (0u16..65).prop_map(|n| n.to_string()).boxed()),
        of("verbose", any::<bool>().prop_map(|is| is.to_string()).boxed()),
        of("ratio", any::<f64>().prop_map(|n| toml::Value::Float(n).to_string()).boxed()),
        of("shutdown_deadline", one(&["\"1h 30m\"", "\"0s\"", "\"1ns\""]).boxed()),
        of(
            "labels",
            ("[a-z]{1,3}|\"[a-z. é#]{0,3}\"", text())
                .prop_map(|(key, of)| format!("{{ {key} = {of} }}"))
                .boxed()
        ),
        of("admins", vec(any::<i64>(), 0..4).prop_map(|list| format!("{list:?}")).boxed()),
        of("log.format", one(&["\"text\"", "\"json\""]).boxed()),
        of("limits.body_size", one(&["\"1MiB\"", "17", "\"1.5GB\""]).boxed()),
        of("limits.connections", (1u32..).prop_map(|n| n.to_string()).boxed()),
        of(
            "listeners",
            vec(prop_oneof![address(), listener], 0..3)
                .prop_map(|list| format!("[{}]", list.join(", ")))
                .boxed()
        ),
        of("tls.certificate", text().boxed()),
        of(
            "hooks",
            vec(text().prop_map(|name| format!("{{ name = {name} }}")), 0..3)
                .prop_map(|list| format!("[{}]", list.join(", ")))
                .boxed()
        ),
        of("presence.offline_timeout", one(&["\"1s\"", "\"2years\""]).boxed()),
    ]
}

fn right_file() -> impl Strategy<Value = String> {
    vec(right(), 0..8).prop_map(|lines| {
        // No key twice.
        let lines: BTreeMap<_, _> = lines.into_iter().collect();
        lines.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>()
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => proptest::sample::select(KEYS.to_vec()).prop_map(str::to_owned),
        1 => "[a-z_.]{1,12}",
    ]
}

fn file() -> impl Strategy<Value = String> {
    vec((key(), toml_value()), 0..6).prop_map(|lines| {
        lines.into_iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>()
    })
}

fn os_text() -> impl Strategy<Value = OsString> {
    prop_oneof![
        "[0-9a-z :./,@\\[\\]{}=\"-]{0,16}".prop_map(OsString::from),
        any::<String>().prop_map(OsString::from),
        vec(any::<u8>(), 0..16).prop_map(OsString::from_vec),
        toml_value().prop_map(OsString::from),
    ]
}

fn sources() -> impl Strategy<Value = Sources> {
    let variables = vec((key(), os_text()), 0..4);
    let flags = vec((key(), os_text()), 0..4);
    let sets = vec((key(), os_text()), 0..3);
    (variables, flags, sets).prop_map(|(variables, flags, sets)| {
        let mut sources = Sources::default();
        for (key, text) in variables {
            sources = sources.variable(format!("PRESENCE_{}", key.to_uppercase().replace('.', "_")), text);
        }
        for (key, text) in flags {
            sources = sources.flag(key.replace(['.', '_'], "-"), text);
        }
        for (key, text) in sets {
            let mut pair = OsString::from(key + "=");
            pair.push(text);
            sources = sources.flag("set", pair);
        }
        sources
    })
}

/// Where a secret can be given.
#[derive(Clone, Debug)]
enum Place {
    File(&'static str),
    Variable(&'static str),
    Flag(&'static str),
    SecretFile,
}

fn place() -> impl Strategy<Value = Place> {
    proptest::sample::select(vec![
        Place::File("admin.token = \"SECRET\"\n"),
        Place::File("admin.token = [\"SECRET\"]\n"),
        Place::File("admin.token = { a = \"SECRET\" }\n"),
        Place::File("admin = \"SECRET\"\n"),
        Place::File("admin.token = SECRET\n"),
        Place::File("database.url = \"postgres://bob:SECRET@db/x\"\n"),
        Place::File("database.passwords = \"SECRET\"\n"),
        Place::File("database.passwords = { x = \"SECRET\", y = [\"SECRET\"] }\n"),
        Place::File("hooks = [{ name = \"x\", token = \"SECRET\" }]\n"),
        Place::File("hooks = [{ token = \"SECRET\" }, \"SECRET\", 5]\n"),
        Place::File("hooks = \"SECRET\"\n"),
        Place::File("admin.token = \"weak SECRET\"\n"),
        Place::Variable("PRESENCE_ADMIN_TOKEN"),
        Place::Variable("PRESENCE_DATABASE_PASSWORDS"),
        Place::Variable("PRESENCE_HOOKS"),
        Place::Variable("PRESENCE_UNKNOWN"),
        Place::Flag("admin-token"),
        Place::Flag("hooks"),
        Place::Flag("unknown"),
        Place::SecretFile,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_at_all_makes_it_panic(bytes in vec(any::<u8>(), 0..200), text in any::<String>()) {
        let folder = Folder::new();
        let schema = schema();
        for path in [folder.write("bytes", bytes), folder.write("text", text)] {
            let _ = schema.load(&Sources::default().file(path));
        }
    }

    #[test]
    fn whatever_is_given_comes_to_values_that_can_be_shown_and_read_again_or_to_mistakes(
        file in file(),
        sources in sources(),
    ) {
        let folder = Folder::new();
        let path = folder.write("presence.toml", &file);
        let schema = schema();
        match schema.load(&sources.file(path)) {
            // What is secret is not shown, so it cannot be read again, nor what needs it.
            Ok(config) if config.show().contains("***") => {}
            Ok(config) => {
                let again = schema.load(&Sources::default().file(folder.write("again.toml", config.show())));
                let again = again.unwrap_or_else(|errors| panic!("{errors}\n{config}"));
                prop_assert_eq!(format!("{:?}", all(&again)), format!("{:?}", all(&config)), "{}", config);
            }
            Err(errors) => {
                let told = errors.to_string();
                prop_assert!(!told.is_empty());
                prop_assert_eq!(told.lines().count(), errors.iter().count(), "{}", told);
                prop_assert!(!told.contains(|char: char| char.is_control() && char != '\n'), "{told:?}");
            }
        }
    }

    #[test]
    fn what_is_right_is_shown_so_that_it_means_the_same(file in right_file()) {
        let folder = Folder::new();
        let schema = schema();
        let load = |name: &str, text: &str| {
            let loaded = schema.load(&Sources::default().file(folder.write(name, text)));
            loaded.unwrap_or_else(|errors| panic!("{errors}\n{text}"))
        };
        let config = load("presence.toml", &file);
        let again = load("again.toml", &config.show());
        prop_assert_eq!(format!("{:?}", all(&again)), format!("{:?}", all(&config)), "{}", config);
    }

    #[test]
    fn a_secret_is_neither_shown_nor_told(file in file(), sources in sources(), place in place()) {
        let folder = Folder::new();
        let mut text = file;
        let mut sources = sources;
        match place {
            Place::File(line) => text.push_str(&line.replace("SECRET", SECRET)),
            Place::Variable(name) => sources = sources.variable(name, SECRET),
            Place::Flag(name) => sources = sources.flag(name, SECRET),
            Place::SecretFile => sources = sources.flag("admin-token-file", folder.write("token", SECRET)),
        }
        let sources = sources.file(folder.write("presence.toml", text));
        let told = match schema().load(&sources) {
            Ok(config) => format!("{config} {config:?} {:?}", all(&config)),
            Err(errors) => format!("{errors} {errors:?}"),
        };
        prop_assert!(!told.contains("hunter2"), "{told}");
        let debug = format!("{sources:?}");
        prop_assert!(!debug.contains("hunter2"), "{debug}");
    }

    #[test]
    fn a_size_that_is_too_large_is_none(n in 16u64..) {
        for text in [format!("{n}EiB"), format!("{n}.5EiB")] {
            prop_assert!(text.parse::<Size>().is_err());
        }
    }

    #[test]
    fn sizes_show_themselves_exactly(bytes in prop_oneof![any::<u64>(), (0u64..64, 0u32..64).prop_map(|(n, by)| n << by)]) {
        let size = Size::from_bytes(bytes);
        prop_assert_eq!(size.to_string().parse::<Size>(), Ok(size));
    }

    #[test]
    fn times_show_themselves_exactly(secs in prop_oneof![any::<u64>(), 0u64..1 << 40], nanos in 0u32..1_000_000_000) {
        let time = Time::from(Duration::new(secs, nanos));
        prop_assert_eq!(time.to_string().parse::<Time>(), Ok(time));
        if let Some(time) = PositiveTime::new(time.get()) {
            prop_assert_eq!(time.to_string().parse::<PositiveTime>(), Ok(time));
        }
    }

    #[test]
    fn times_and_sizes_take_any_text(text in prop_oneof![any::<String>(), "[0-9. a-zA-Z]{0,30}"]) {
        let _ = (text.parse::<Time>(), text.parse::<Size>(), without_passwords(&text));
    }
}

//! Flags and their help; and what is wrong with a schema itself.

mod config_common;

use std::collections::BTreeMap;

use clap::Command;
use config_common::{Admin, Database, Log, Presence, schema};
use logcontext_service::config::{Config, Schema, Secret, Sources, TextOr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

fn help(long: bool) -> String {
    let mut command = Command::new("presence").args(schema().args()).term_width(1_000);
    if long { command.render_long_help().to_string() } else { command.render_help().to_string() }
}

/// The lines of the help on that flag.
fn help_of(flag: &str, long: bool) -> String {
    let help = help(long);
    let start =
        help.find(&format!("--{flag} ")).or_else(|| help.find(&format!("--{flag}["))).expect("the flag");
    let rest = &help[start..];
    let end = ["\n  -", "\n      -"].into_iter().filter_map(|next| rest.find(next)).min();
    rest[..end.unwrap_or(rest.len())].split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_schema_that_makes_sense_passes() {
    let only = |path: &str| path.strip_prefix("key ").is_some();
    // Items of lists and maps are no keys; all else is in order.
    let faults = schema().check().err().map(|faults| faults.to_string()).unwrap_or_default();
    assert_eq!(faults.lines().filter(|line| !only(line)).collect::<Vec<_>>(), Vec::<&str>::new());
    assert_eq!(schema().check(), Ok(()));
    Command::new("presence").args(schema().args()).debug_assert();
}

#[test]
fn help_has_doc_comment_key_variable_and_default() {
    assert_eq!(
        help_of("workers", false),
        "--workers <N> How many threads work. [key: workers] [env: PRESENCE_WORKERS] [default: 4]"
    );
    assert_eq!(
        help_of("verbose", false),
        "--verbose[=<true|false>] Whether to say more. [key: verbose] [env: PRESENCE_VERBOSE] [default: false]"
    );
    assert!(help_of("verbose", true).contains("Really."));
    assert_eq!(
        help_of("presence-offline-timeout", false),
        "--presence-offline-timeout <TIME> Who does nothing for so long becomes offline. \
         [key: presence.offline_timeout] [env: PRESENCE_PRESENCE_OFFLINE_TIMEOUT] [default: 5m]"
    );
    assert_eq!(
        help_of("log", false),
        "--log <text|json> How lines look. [key: log.format] [env: PRESENCE_LOG] [default: text]"
    );
    assert!(help_of("config", false).ends_with("[env: PRESENCE_CONFIG]"));
    // The full form of what has a short one is for who asks for all.
    assert!(!help(false).contains("--log-format"));
    assert!(help(true).contains("--log-format"));
}

#[test]
fn help_of_secrets_says_that_a_command_line_is_seen() {
    let seen = "Other users of the machine see a command line: a variable or a file is better.";
    assert!(help_of("admin-token", false).contains(seen));
    assert!(help_of("database", false).contains(seen));
    assert!(!help_of("admin-token-file", false).contains(seen));
    assert_eq!(
        help_of("admin-token-file", false),
        "--admin-token-file <FILE> A file with admin.token in it. [key: admin.token_file] [env: PRESENCE_ADMIN_TOKEN_FILE]"
    );
}

#[test]
fn defaults_in_help_have_no_password() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        /// A database.
        url: logcontext_service::config::DatabaseUrl,
        /// A token.
        token: Secret,
    }
    impl Default for Settings {
        fn default() -> Self {
            Self { url: "postgres://a:hunter2@b".to_owned().into(), token: "hunter2".parse().unwrap() }
        }
    }
    let schema = Schema::new("presence").section::<Settings>("");
    let mut command = Command::new("presence").args(schema.args());
    let help = command.render_long_help().to_string();
    assert!(!help.contains("hunter2") && help.contains("postgres://a:***@b"), "{help}");
    assert!(!help.contains("\"***\""), "{help}");
    assert!(!schema.load(&Sources::default()).unwrap().show().contains("hunter2"));
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Clashing {
    /// One.
    log_format: bool,
    /// Two.
    config: bool,
    /// Three.
    help: bool,
    /// Four.
    token: Option<Secret>,
    /// Five.
    token_file: String,
}

#[test]
fn names_that_clash_are_found_and_nothing_panics() {
    let schema = Schema::new("presence").section::<Clashing>("").section::<Log>("log");
    assert_eq!(
        schema.check().unwrap_err().to_string(),
        "--config is of every server and of config\n\
         --help is of every server and of help\n\
         --log-format is of log.format and of log_format\n\
         --token-file is of token_file and of token_file\n\
         PRESENCE_CONFIG is of every server and of config\n\
         PRESENCE_LOG_FORMAT is of log.format and of log_format\n\
         PRESENCE_TOKEN_FILE is of token_file and of token_file"
    );
    Command::new("presence").args(schema.args()).disable_help_flag(true).debug_assert();
    // The first by name has it.
    let config = schema.load(&Sources::default().flag("log-format", "json")).unwrap();
    assert_eq!(config.get::<Log>("log").unwrap().format, config_common::Format::Json);
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Open {
    one: bool,
}

impl Default for Open {
    fn default() -> Self {
        Self { one: true }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Partial {
    /// One.
    #[serde(default)]
    one: bool,
}

impl Default for Partial {
    fn default() -> Self {
        Self { one: true }
    }
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Shadowing {
    /// As a section.
    admin: bool,
}

#[test]
fn what_else_is_wrong_with_a_schema_is_found() {
    let schema = Schema::new("presence")
        .section::<Shadowing>("")
        .section::<Open>("open")
        .section::<Partial>("partial")
        .section::<Presence>("a.b")
        .section::<Admin>("admin")
        .section::<Database>("database")
        .section::<Database>("database")
        .alias("short", "database.urls");
    assert_eq!(
        schema.check().unwrap_err().to_string(),
        "section \"admin\" is a key of the top level too\n\
         section \"partial\": an empty table is not its default: `serde(default)`?\n\
         section \"a.b\": its key is not letters, digits, - and _\n\
         two sections with the key \"database\"\n\
         table \"open\" lets unknown keys pass: `serde(deny_unknown_fields)`\n\
         key \"open.one\" has no doc comment\n\
         \"short\" is short for \"database.urls\", which is no key"
    );
}

#[test]
fn an_unknown_key_is_refused_even_by_a_type_that_would_let_it_pass() {
    let schema = Schema::new("presence").section::<Open>("open");
    let told = |text: &str| schema.load(&Sources::default().flag("set", text)).unwrap_err().to_string();
    assert_eq!(told("open.ones=1"), "--set: open.ones: unknown key, did you mean open.one?");
    let folder = config_common::Folder::new();
    let file = folder.write("presence.toml", "\n[open]\ntwo = 1\n[other]\n");
    let errors = schema.load(&Sources::default().file(file)).unwrap_err();
    assert_eq!(
        folder.short(&errors.to_string()),
        "presence.toml:3: open.two: unknown key, expected one\npresence.toml:4: other: unknown key"
    );
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Flat {
    /// One.
    one: u16,
    #[serde(flatten)]
    more: More,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct More {
    /// Two.
    two: Option<u16>,
    /// Three.
    three: bool,
}

#[test]
fn a_type_in_the_place_of_a_field_has_keys_like_any() {
    for (key, section) in [("", ""), ("flat.", "flat")] {
        let schema = Schema::new("presence").section::<Flat>(section);
        let sources = Sources::default()
            .flag("set", format!("{key}two=2"))
            .variable(format!("PRESENCE_{}THREE", key.to_uppercase().replace('.', "_")), "true");
        let flat: Flat = schema.load(&sources).unwrap().get(section).unwrap();
        assert_eq!(flat, Flat { one: 0, more: More { two: Some(2), three: true } });
        // Serde itself would let the unknown key pass.
        let folder = config_common::Folder::new();
        let file = folder.write("presence.toml", format!("{key}one = 1\n{key}twoo = 2\n"));
        let errors = schema.load(&Sources::default().file(file)).unwrap_err().to_string();
        assert_eq!(
            folder.short(&errors),
            format!("presence.toml:2: {key}twoo: unknown key, did you mean {key}two?")
        );
    }
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Odd {
    /// Two numbers.
    pair: (u8, u8),
    /// Short or long.
    either: Vec<TextOr<String, Open>>,
    /// By name.
    by_name: BTreeMap<String, Choice>,
    /// Larger than TOML's.
    large: u64,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Choice {
    Nothing,
    Some(u8),
}

#[test]
fn types_of_all_kinds_are_read_and_refused() {
    let schema = Schema::new("presence").section::<Odd>("");
    schema.check().unwrap();
    let folder = config_common::Folder::new();
    let load = |text: &str| schema.load(&Sources::default().file(folder.write("presence.toml", text)));
    let config = load(
        "pair = [1, 2]\neither = [\"a\", { one = false }]\nby_name = { 1 = \"nothing\", 2 = { some = 3 } }",
    );
    let again = load(&config.as_ref().unwrap().show());
    let odd = |config: Result<Config, _>| format!("{:?}", config.unwrap().get::<Odd>("").unwrap());
    assert_eq!(
        odd(config),
        "Odd { pair: (1, 2), either: [Text(\"a\"), Table(Open { one: false })], by_name: {\"1\": Nothing, \"2\": Some(3)}, large: 0 }"
    );
    assert!(odd(again).ends_with("by_name: {\"1\": Nothing, \"2\": Some(3)}, large: 0 }"));
    let errors = load(
        "pair = [1, 2, 3]\neither = [\n{ two = 1 },\n{ one = 1 }]\n[by_name]\n\n1 = \"none\"\n2 = { some = 256 }\n3 = 5",
    );
    assert_eq!(
        folder.short(&errors.unwrap_err().to_string()),
        "presence.toml:1: pair: expected no more than 2 items, found a list\n\
         presence.toml:3: either[0].two: unknown key\n\
         presence.toml:4: either[1].one: expected true or false, found 1\n\
         presence.toml:7: by_name.1: expected nothing or some, found \"none\"\n\
         presence.toml:8: by_name.2.some: expected a whole number from 0 to 255, found 256\n\
         presence.toml:9: by_name.3: expected a name, found 5"
    );
    let errors =
        schema.load(&Sources::default().variable("PRESENCE_LARGE", u64::MAX.to_string())).unwrap_err();
    assert!(errors.to_string().starts_with("default: expected what TOML can write: "), "{errors}");
    let config = schema.load(&Sources::default().variable("PRESENCE_PAIR", "3, 4")).unwrap();
    assert_eq!(config.get::<Odd>("").unwrap().pair, (3, 4));
}

#[test]
fn a_section_that_there_is_not_is_told() {
    let config = schema().load(&Sources::default()).unwrap();
    assert_eq!(config.get::<Log>("log").unwrap_err().to_string(), "default: log: is no section");
    let other = config.get::<Presence>("database");
    assert!(other.is_ok(), "an empty table is good for both");
}

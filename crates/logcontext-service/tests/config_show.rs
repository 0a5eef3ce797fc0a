//! What a configuration shows of itself.

mod config_common;

use config_common::{Folder, all, load, schema};
use logcontext_service::config::Sources;

#[test]
fn each_value_is_shown_with_its_origin() {
    let folder = Folder::new();
    let token = folder.write("token", "hunter2-token\n");
    let text = format!(
        "workers = 8\nlabels = {{ eu = \"1\" }}\n[[listeners]]\naddress = \"127.0.0.1:1\"\nname = \"one\"\n\
         [[hooks]]\nname = \"hook\"\ntoken = \"hunter2-hook\"\n[[hooks]]\nname = \"file\"\ntoken_file = {:?}\n",
        token.to_str().unwrap()
    );
    let path = folder.write("presence.toml", &text);
    let sources = Sources::default()
        .file(path)
        .variable("PRESENCE_LOG", "json")
        .variable("PRESENCE_ADMIN_TOKEN_FILE", &token)
        .variable("PRESENCE_DATABASE_PASSWORDS", "{ a = \"hunter2-a\" }")
        .flag("database", "postgres://bob:hunter2-db@db/presence")
        .flag("set", "presence.offline_timeout=90s");
    let shown = schema().load(&sources).unwrap().to_string();
    assert_eq!(
        folder.short(&shown),
        r#"admins = []  # default
name = "presence"  # default
ratio = 0.5  # default
shutdown_deadline = "10s"  # default
# tls is not set  # default
verbose = false  # default
workers = 8  # presence.toml:1

[[hooks]]  # presence.toml:6
name = "hook"  # presence.toml:7
# token = "***"  # presence.toml:8

[[hooks]]  # presence.toml:9
name = "file"  # presence.toml:10
token_file = "token"  # presence.toml:11

[labels]
eu = "1"  # presence.toml:2

[limits]
body_size = "1MiB"  # default
# connections is not set  # default

[[listeners]]  # presence.toml:3
address = "127.0.0.1:1"  # presence.toml:4
name = "one"  # presence.toml:5
# tls_certificate is not set  # default
# tls_key is not set  # default

[log]
filter = "info"  # default
format = "json"  # PRESENCE_LOG

[database]
# url = "postgres://bob:***@db/presence"  # --database

[database.passwords]
# a = "***"  # PRESENCE_DATABASE_PASSWORDS

[admin]
address = "127.0.0.1:9008"  # default
token_file = "token"  # PRESENCE_ADMIN_TOKEN_FILE

[presence]
offline_timeout = "1m 30s"  # --set
"#
    );
}

#[test]
fn what_is_shown_is_good_as_a_file_and_means_the_same() {
    let folder = Folder::new();
    let token = folder.write("token", "hunter2\r\n");
    let sources = Sources::default()
        .variable("PRESENCE_NAME", "a \"b\" \\ \u{1b}\n\t\u{202e}\u{7f} # ''' é")
        .variable("PRESENCE_LISTEN", "127.0.0.1:1,[::1]:2")
        .variable("PRESENCE_RATIO", "1")
        .variable("PRESENCE_ADMINS", "1,-9223372036854775808")
        .variable("PRESENCE_LABELS", "{ \"a.b\" = \"c\", \"\" = \"d\", \"\\n\" = \"e\" }")
        .variable("PRESENCE_TLS_CERTIFICATE", "a.pem")
        .variable("PRESENCE_HOOKS", "[{ name = \"x\" }]")
        .flag("admin-token-file", &token)
        .flag("limits-body-size", "1025")
        .flag("limits-connections", "3");
    let first = schema().load(&sources).unwrap();
    let path = folder.write("shown.toml", first.show());
    let second = schema().load(&Sources::default().file(path)).unwrap();
    assert_eq!(all(&second), all(&first));
    assert_eq!(all(&first).2.token.unwrap().expose(), "hunter2");
    // Once more, everything being from the file.
    let values = |shown: String| -> Vec<String> {
        shown
            .lines()
            .map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value).to_owned())
            .collect()
    };
    assert_eq!(values(second.show()), values(first.show()));
}

#[test]
fn numbers_that_are_none_are_shown_as_toml_has_them() {
    for text in ["inf", "-inf", "nan", "1e300", "0.1"] {
        let config = load(&format!("ratio = {text}"));
        let again = load(&config.show());
        assert_eq!(all(&again).0.ratio.to_bits(), all(&config).0.ratio.to_bits(), "{text}");
    }
}

#[test]
fn a_secret_that_was_shown_is_not_taken_for_one() {
    let config = load("[admin]\ntoken = \"hunter2\"");
    assert_eq!(all(&load(&config.show())).2.token, None);
    let told = config_common::mistakes("[admin]\ntoken = \"***\"");
    assert_eq!(told, "presence.toml:2: admin.token: expected a secret in plain text");
}

#[test]
fn the_name_of_a_file_does_not_end_its_comment() {
    let folder = Folder::new();
    let path = folder.write("a\nname = \"evil\" #", "workers = 5");
    let config = schema().load(&Sources::default().file(path)).unwrap();
    assert!(config.show().contains("/a\\nname = \"evil\" #:1\n"), "{config}");
    assert_eq!(all(&load(&config.show())).0.name, "presence");
}

#[test]
fn debug_shows_no_more() {
    let config = load("[admin]\ntoken = \"hunter2\"\n[database]\nurl = \"postgres://a:hunter2@b/c\"");
    assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
    let sources =
        Sources::default().variable("PRESENCE_ADMIN_TOKEN", "hunter2").flag("set", "admin.token=hunter2");
    assert!(!format!("{sources:?}").contains("hunter2"));
    assert!(!format!("{:?}", all(&config)).contains("hunter2"));
}

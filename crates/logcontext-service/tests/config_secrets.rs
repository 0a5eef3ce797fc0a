//! Secrets: by themselves or by the name of a file, and never told.

mod config_common;

use config_common::{Folder, all, mistakes, mistakes_with, schema};
use logcontext_service::config::{Secret, Sources};

fn token(sources: &Sources) -> Option<String> {
    let config = schema().load(sources).unwrap_or_else(|errors| panic!("{errors}"));
    all(&config).2.token.map(|token| token.expose().to_owned())
}

#[test]
fn a_secret_may_be_in_a_file_of_its_own() {
    let folder = Folder::new();
    for (bytes, secret) in
        [("a b\n", "a b"), ("a", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("0", "0")]
    {
        let path = folder.write("token", bytes);
        assert_eq!(
            token(&Sources::default().variable("PRESENCE_ADMIN_TOKEN_FILE", &path)).as_deref(),
            Some(secret)
        );
        assert_eq!(token(&Sources::default().flag("admin-token-file", &path)).as_deref(), Some(secret));
        let text = format!("[admin]\ntoken_file = {:?}", path.to_str().unwrap());
        let file = folder.write("presence.toml", &text);
        assert_eq!(token(&Sources::default().file(file)).as_deref(), Some(secret));
    }
    let url = folder.write("url", "postgres://bob:hunter2@db/x\n");
    let config = schema().load(&Sources::default().variable("PRESENCE_DATABASE_FILE", url)).unwrap();
    assert_eq!(all(&config).1.url.with_password(), "postgres://bob:hunter2@db/x");
}

#[test]
fn one_source_gives_a_secret_or_its_file_and_not_both() {
    let folder = Folder::new();
    let path = folder.write("token", "hunter2");
    let text = "[admin]\ntoken = \"hunter2\"\ntoken_file = \"token\"\n[[hooks]]\nname = \"x\"\ntoken = \"hunter2\"\ntoken_file = \"x\"";
    assert_eq!(
        mistakes(text),
        "presence.toml:3: admin.token_file: expected only one of the two, found admin.token too\n\
         presence.toml:7: hooks[0].token_file: expected only one of the two, found hooks[0].token too"
    );
    let sources = || {
        Sources::default().variable("PRESENCE_ADMIN_TOKEN", "x").variable("PRESENCE_ADMIN_TOKEN_FILE", "y")
    };
    assert_eq!(
        schema().load(&sources()).unwrap_err().to_string(),
        "PRESENCE_ADMIN_TOKEN_FILE: admin.token_file: expected only one of the two, found admin.token too"
    );
    // What a later source gives is instead of either.
    let in_file = folder.write("presence.toml", format!("admin.token_file = {:?}", path.to_str().unwrap()));
    let file = Sources::default().file(in_file);
    assert_eq!(token(&file.clone().variable("PRESENCE_ADMIN_TOKEN", "env")).as_deref(), Some("env"));
    let plain = Sources::default().file(folder.write("plain.toml", "admin.token = \"plain\""));
    assert_eq!(token(&plain.clone().flag("admin-token-file", &path)).as_deref(), Some("hunter2"));
    assert_eq!(token(&plain.variable("PRESENCE_ADMIN_TOKEN", "")), None);
    assert_eq!(token(&file.variable("PRESENCE_ADMIN_TOKEN_FILE", "")), None);
}

#[test]
fn a_file_without_a_secret_is_told() {
    let folder = Folder::new();
    let told = |path: &std::path::Path| {
        let errors = schema().load(&Sources::default().flag("admin-token-file", path)).unwrap_err();
        folder.short(&errors.to_string())
    };
    let start = "--admin-token-file: admin.token_file:";
    assert_eq!(
        told(&folder.write("empty", "\n")),
        format!("{start} \"empty\": expected a secret, found nothing")
    );
    assert_eq!(told(&folder.path("gone")), format!("{start} \"gone\": there is no such file"));
    assert_eq!(
        told(&folder.write("large", vec![b'x'; (64 << 10) + 1])),
        format!("{start} \"large\": expected no more than 64KiB, found a larger file")
    );
    assert_eq!(
        told(&folder.write("latin", b"hunter2\xff")),
        format!("{start} \"latin\": expected text in UTF-8, found something else in line 1")
    );
    assert_eq!(
        mistakes("admin.token_file = 5"),
        "presence.toml:1: admin.token_file: expected the name of a file, found 5"
    );
}

#[test]
fn no_mistake_tells_a_secret() {
    let url = "postgres://bob:hunter2@db/x";
    for (text, told) in [
        ("admin.token = 12345678", "presence.toml:1: admin.token: expected a secret in plain text"),
        ("admin.token = \"\"", "presence.toml:1: admin.token: expected a secret in plain text"),
        ("admin.token = [\"hunter2\"]", "presence.toml:1: admin.token: expected a secret in plain text"),
        ("admin = \"hunter2\"", "presence.toml:1: admin: expected a table"),
        ("hooks = [\"hunter2\"]", "presence.toml:1: hooks[0]: expected a table"),
        ("hooks = \"hunter2\"", "presence.toml:1: hooks: expected a list"),
        ("database.passwords = \"hunter2\"", "presence.toml:1: database.passwords: expected a table"),
        (
            "database.passwords.a = 12345678",
            "presence.toml:1: database.passwords.a: expected a secret in plain text",
        ),
    ] {
        assert_eq!(mistakes(text), told, "{text}");
    }
    // Somebody has mixed two flags up.
    let sources = Sources::default().flag("workers", url).flag("database-passwords", "a=hunter2");
    assert_eq!(
        mistakes_with("", sources),
        "--database-passwords: database.passwords: expected a table\n\
         --workers: workers: expected a whole number from 0 to 65535, found \"postgres://bob:***@db/x\""
    );
}

#[test]
fn a_secret_is_compared_whole() {
    let secret: Secret = "hunter2".parse().unwrap();
    assert!(secret.is("hunter2"));
    for other in ["", "hunter", "hunter22", "hunter2hunter2", "hunter3", "Hunter2", "xxxxxxx"] {
        assert!(!secret.is(other), "{other}");
    }
    assert_eq!(serde_json::to_string(&secret).unwrap(), "\"***\"");
}

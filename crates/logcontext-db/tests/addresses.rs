//! What is wrong with an address is said without what is secret in it.

mod common;

use common::Own;
use logcontext_db::{Backend, Database, Error};

const SECRET: &str = "hunter2";

/// All that an error says of itself, to people and to logs.
fn told(error: &Error) -> String {
    let mut told = format!("{error} {error:?}");
    let mut inner = std::error::Error::source(error);
    while let Some(error) = inner {
        told += &format!(" {error} {error:?}");
        inner = error.source();
    }
    told
}

/// Tries to open a database there, and answers the error, which keeps the secret as the log and the builder do.
async fn refused(url: &str, setting: &common::Setting<'_>) -> Error {
    assert!(url.contains(SECRET), "{url}");
    let builder = Database::builder(url);
    let shown = format!("{builder:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    let error = builder.open().await.unwrap_err();
    let told = told(&error);
    assert!(!told.contains(SECRET), "{told}");
    for record in setting.test.records() {
        let record = format!("{record:?}");
        assert!(!record.contains(SECRET), "{record}");
    }
    error
}

#[test]
fn a_parameter_that_is_not_known_is_refused_by_its_name_alone() {
    common::run(Own::sqlite, async |_own, setting| {
        for (url, backend, key) in [
            ("postgres://bob@127.0.0.1:1/db?pasword=hunter2", Backend::Postgres, "pasword"),
            (
                "postgresql://bob@127.0.0.1:1/db?sslmode=disable&PASSWORD=hunter2",
                Backend::Postgres,
                "PASSWORD",
            ),
            ("sqlite:hunter2.db?pasword=hunter2", Backend::Sqlite, "pasword"),
        ] {
            let error = refused(url, &setting).await;
            assert!(
                matches!(&error, Error::UnknownParameter { backend: b, key: Some(k) } if *b == backend && k == key),
                "{error:?}"
            );
            assert!(error.to_string().contains(&format!("the parameter `{key}`")), "{error}");
        }
    });
}

#[test]
fn a_password_with_a_question_mark_in_it_is_not_taken_for_a_name() {
    common::run(Own::sqlite, async |_own, setting| {
        for url in ["postgres://bob:12?hunter2@127.0.0.1/db", "postgres://bob:12?hunter2=1&b=c@127.0.0.1/db"]
        {
            let error = refused(url, &setting).await;
            assert!(matches!(error, Error::UnknownParameter { key: None, .. }), "{error:?}");
            assert!(error.to_string().contains("`%3F`"), "{error}");
        }
        // This one is known, and the driver repeats values.
        let error = refused("postgres://bob:12?sslmode=hunter2@127.0.0.1/db", &setting).await;
        assert!(matches!(error, Error::Address { source: None, .. }), "{error:?}");
    });
}

#[test]
fn a_server_that_is_not_there_is_no_reason_to_tell_the_password() {
    common::run(Own::sqlite, async |_own, setting| {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let closed = nobody.local_addr().unwrap();
        drop(nobody);
        for url in [
            format!("postgres://bob:hunter2@{closed}/db"),
            format!("postgres://bob@{closed}/db?password=hunter2"),
        ] {
            let error = refused(&url, &setting).await;
            assert!(matches!(error, Error::Connect { tries: 1, .. }), "{error:?}");
            // Why it is not there is told.
            assert!(error.to_string().contains("(1 try): Connection refused"), "{error}");
        }
    });
}

//! What others see and do: a connection to the same database that the library knows nothing of.

use std::pin::Pin;

use logcontext_db::sqlx::{self, Connection as _, PgConnection, SqliteConnection};
use logcontext_db::{AssertSqlSafe, Backend};

use super::Own;

pub(crate) enum Outside {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Outside {
    pub(crate) async fn open(own: &Own) -> Self {
        match own.backend {
            Backend::Sqlite => {
                // Somebody may just be closing the file.
                let options = own.url.parse::<sqlx::sqlite::SqliteConnectOptions>().unwrap();
                let options = options.busy_timeout(super::DEADLINE);
                Self::Sqlite(SqliteConnection::connect_with(&options).await.unwrap())
            }
            _ => Self::Postgres(PgConnection::connect(&own.url).await.unwrap()),
        }
    }

    /// Whoever is in its way shows at once.
    pub(crate) async fn try_run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        if let Self::Sqlite(connection) = self {
            sqlx::raw_sql("PRAGMA busy_timeout = 0").execute(connection).await?;
        }
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()),
            Self::Postgres(connection) => sqlx::raw_sql(sql).execute(connection).await.map(|_| ()),
        }
    }

    pub(crate) async fn run(&mut self, sql: &str) {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    pub(crate) async fn number(&mut self, sql: &str) -> i64 {
        let sql = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(connection) => sqlx::query_scalar(sql).fetch_one(connection).await.unwrap(),
            Self::Postgres(connection) => sqlx::query_scalar(sql).fetch_one(connection).await.unwrap(),
        }
    }

    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(connection) => connection.close().await.unwrap(),
            Self::Postgres(connection) => connection.close().await.unwrap(),
        }
    }
}

/// Drops a future after so many polls; its output, if it has one by then.
pub(crate) async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future: Pin<Box<F>> = Box::pin(future);
    let mut left = times;
    std::future::poll_fn(|cx| {
        use std::task::Poll;
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Waits for something that nobody tells us of.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(super::DEADLINE, waiting).await.unwrap_or_else(|_| panic!("never so: {what}"));
}

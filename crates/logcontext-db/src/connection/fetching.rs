//! [`Fetching`]: what a query answers, on its way.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use futures_util::future::BoxFuture;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use sqlx::{Execute, Executor as _, SqlStr, error::BoxDynError};
#[cfg(feature = "postgres")]
use sqlx::{PgConnection, Postgres, postgres::PgRow};
#[cfg(feature = "sqlite")]
use sqlx::{Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::gone;
#[cfg(feature = "sqlite")]
use super::sqlite::Limit;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::value::{Arguments, Inner as Values};
use crate::{Row, row::Inner};

/// The driver's own future as it is: each layer of ours around it would be polled with it, and move it about.
#[must_use = "nothing happens before it is awaited"]
pub(crate) enum Fetching<'a, A: Answer> {
    #[cfg(feature = "sqlite")]
    Sqlite {
        answer: BoxFuture<'a, Result<A::Sqlite, sqlx::Error>>,
        _limit: Option<Limit>,
    },
    #[cfg(feature = "postgres")]
    Postgres(BoxFuture<'a, Result<A::Postgres, sqlx::Error>>),
    Gone(PhantomData<&'a A>),
}

/// All rows, or the first one.
pub(crate) trait Answer: Unpin {
    #[cfg(feature = "sqlite")]
    type Sqlite;
    #[cfg(feature = "postgres")]
    type Postgres;

    /// Asks for it.
    #[cfg(feature = "sqlite")]
    fn ask_sqlite<'a>(
        connection: &'a mut SqliteConnection,
        statement: Statement<'a>,
    ) -> BoxFuture<'a, Result<Self::Sqlite, sqlx::Error>>;
    #[cfg(feature = "postgres")]
    fn ask_postgres<'a>(
        connection: &'a mut PgConnection,
        statement: Statement<'a>,
    ) -> BoxFuture<'a, Result<Self::Postgres, sqlx::Error>>;

    #[cfg(feature = "sqlite")]
    fn of_sqlite(answer: Self::Sqlite) -> Self;
    #[cfg(feature = "postgres")]
    fn of_postgres(answer: Self::Postgres) -> Self;

    /// How many rows it is.
    fn rows(&self) -> u64;
}

impl Answer for Option<Row> {
    #[cfg(feature = "sqlite")]
    type Sqlite = Option<SqliteRow>;
    #[cfg(feature = "postgres")]
    type Postgres = Option<PgRow>;

    #[cfg(feature = "sqlite")]
    fn ask_sqlite<'a>(
        connection: &'a mut SqliteConnection,
        statement: Statement<'a>,
    ) -> BoxFuture<'a, Result<Self::Sqlite, sqlx::Error>> {
        connection.fetch_optional(statement)
    }

    #[cfg(feature = "postgres")]
    fn ask_postgres<'a>(
        connection: &'a mut PgConnection,
        statement: Statement<'a>,
    ) -> BoxFuture<'a, Result<Self::Postgres, sqlx::Error>> {
        connection.fetch_optional(statement)
    }

    #[cfg(feature = "sqlite")]
    fn of_sqlite(answer: Self::Sqlite) -> Self {
        answer.map(|row| Row(Inner::Sqlite(row)))
    }

    #[cfg(feature = "postgres")]
    fn of_postgres(answer: Self::Postgres) -> Self {
        answer.map(|row| Row(Inner::Postgres(row)))
    }

    fn rows(&self) -> u64 {
        self.is_some().into()
    }
}

impl Answer for Vec<Row> {
    #[cfg(feature = "sqlite")]
    type Sqlite = Vec<SqliteRow>;
    #[cfg(feature = "postgres")]
    type Postgres = Vec<PgRow>;

    #[cfg(feature = "sqlite")]
    fn ask_sqlite<'a>(
        connection: &'a mut SqliteConnection,
        statement: Statement<'a>,
    ) -> BoxFuture<'a, Result<Self::Sqlite, sqlx::Error>> {
        connection.fetch_all(statement)
    }

    #[cfg(feature = "postgres")]
    fn ask_postgres<'a>(
        connection: &'a mut PgConnection,
        statement: Statement<'a>,
    ) -> BoxFuture<'a, Result<Self::Postgres, sqlx::Error>> {
        connection.fetch_all(statement)
    }

    #[cfg(feature = "sqlite")]
    fn of_sqlite(answer: Self::Sqlite) -> Self {
        answer.into_iter().map(|row| Row(Inner::Sqlite(row))).collect()
    }

    #[cfg(feature = "postgres")]
    fn of_postgres(answer: Self::Postgres) -> Self {
        answer.into_iter().map(|row| Row(Inner::Postgres(row))).collect()
    }

    fn rows(&self) -> u64 {
        self.len() as u64
    }
}

impl<A: Answer> Future for Fetching<'_, A> {
    type Output = Result<A, sqlx::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let _ = &cx;
        match self.get_mut() {
            #[cfg(feature = "sqlite")]
            Self::Sqlite { answer, .. } => answer.as_mut().poll(cx).map_ok(A::of_sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(answer) => answer.as_mut().poll(cx).map_ok(A::of_postgres),
            Self::Gone(_) => Poll::Ready(Err(gone())),
        }
    }
}

/// A statement and its arguments, which are taken from where they are: sqlx's own would be moved with them inside.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) struct Statement<'a> {
    pub(super) sql: SqlStr,
    pub(super) arguments: &'a mut Option<Arguments>,
}

/// With arguments also where there are none: it is prepared, and that is kept.
macro_rules! execute {
    ($database:ident) => {
        impl<'q> Execute<'q, $database> for Statement<'q> {
            fn sql(self) -> SqlStr {
                self.sql
            }

            fn statement(&self) -> Option<&<$database as sqlx::Database>::Statement> {
                None
            }

            fn take_arguments(
                &mut self,
            ) -> Result<Option<<$database as sqlx::Database>::Arguments>, BoxDynError> {
                match self.arguments.take() {
                    Some(Arguments(Values::$database(values))) => Ok(Some(values)),
                    _ => Err(gone().into()),
                }
            }

            fn persistent(&self) -> bool {
                true
            }
        }
    };
}

#[cfg(feature = "sqlite")]
execute!(Sqlite);
#[cfg(feature = "postgres")]
execute!(Postgres);

//! [`Row`]: what a query answers.

#[cfg(feature = "sqlite")]
use std::sync::OnceLock;

#[cfg(feature = "sqlite")]
use sqlx::ValueRef as _;
#[cfg(feature = "sqlite")]
use sqlx::sqlite::{SqliteRow, SqliteTypeInfo};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use sqlx::{ColumnIndex, Decode, Row as _, Type};

use crate::Error;

/// One row.
pub struct Row(pub(crate) Inner);

pub(crate) enum Inner {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    None(std::convert::Infallible),
}

impl Row {
    /// The value of a column, by its position from 0 or by its name.
    ///
    /// # Errors
    /// If there is no such column, or its value is of another type: PostgreSQL is strict, `BIGINT` is `i64` and
    /// `INT` is `i32`. `NULL` is `None` of an `Option`, and an error for anything else.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), logcontext_db::Error> {
    /// # let context = logcontext::LogContext::new("example");
    /// # logcontext::FutureExt::in_context(async {
    /// let db = logcontext_db::Database::open("sqlite::memory:").await?;
    /// let row = db.query_one("example", "SELECT $1 AS name, 30 AS age", ("alice",)).await?;
    /// assert_eq!(row.get::<String>("name")?, "alice");
    /// assert_eq!(row.get::<i64>(1)?, 30);
    /// assert!(row.get::<i64>("size").is_err());
    /// # Ok(()) }, context).await }
    /// # #[cfg(not(feature = "sqlite"))] fn main() {}
    /// ```
    pub fn get<'r, T: Column<'r>>(&'r self, column: impl ColumnName) -> Result<T, Error> {
        T::from_row(self, &column).map_err(Error::Database)
    }

    /// How many columns it has.
    pub fn len(&self) -> usize {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Inner::Sqlite(row) => row.len(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(row) => row.len(),
            #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
            Inner::None(never) => match *never {},
        }
    }

    /// Has it no columns at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not its values: they are the users', and this goes to logs.
        f.debug_struct("Row").field("columns", &self.len()).finish()
    }
}

/// A value that a column can have: what sqlx can decode from every database that is built in.
pub trait Column<'r>: sealed::Column<'r> {}

impl<'r, T: sealed::Column<'r>> Column<'r> for T {}

/// A position from 0, or a name.
pub trait ColumnName: sealed::ColumnName {}

impl<T: sealed::ColumnName> ColumnName for T {}

mod sealed {
    use super::Row;

    pub trait Column<'r>: Sized {
        fn from_row(row: &'r Row, column: &impl ColumnName) -> Result<Self, sqlx::Error>;
    }

    #[cfg(all(feature = "sqlite", feature = "postgres"))]
    pub trait ColumnName:
        sqlx::ColumnIndex<sqlx::sqlite::SqliteRow> + sqlx::ColumnIndex<sqlx::postgres::PgRow>
    {
    }
    #[cfg(all(feature = "sqlite", not(feature = "postgres")))]
    pub trait ColumnName: sqlx::ColumnIndex<sqlx::sqlite::SqliteRow> {}
    #[cfg(all(feature = "postgres", not(feature = "sqlite")))]
    pub trait ColumnName: sqlx::ColumnIndex<sqlx::postgres::PgRow> {}
    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    pub trait ColumnName {}
}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
impl<T> sealed::ColumnName for T where T: ColumnIndex<SqliteRow> + ColumnIndex<sqlx::postgres::PgRow> {}
#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
impl<T: ColumnIndex<SqliteRow>> sealed::ColumnName for T {}
#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
impl<T: ColumnIndex<sqlx::postgres::PgRow>> sealed::ColumnName for T {}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
impl<'r, T> sealed::Column<'r> for T
where
    T: Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite> + Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
{
    fn from_row(row: &'r Row, column: &impl sealed::ColumnName) -> Result<Self, sqlx::Error> {
        match &row.0 {
            Inner::Sqlite(row) => of_sqlite(row, column),
            Inner::Postgres(row) => row.try_get(column),
        }
    }
}

#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
impl<'r, T: Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite>> sealed::Column<'r> for T {
    fn from_row(row: &'r Row, column: &impl sealed::ColumnName) -> Result<Self, sqlx::Error> {
        let Inner::Sqlite(row) = &row.0;
        of_sqlite(row, column)
    }
}

#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
impl<'r, T: Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>> sealed::Column<'r> for T {
    fn from_row(row: &'r Row, column: &impl sealed::ColumnName) -> Result<Self, sqlx::Error> {
        let Inner::Postgres(row) = &row.0;
        row.try_get(column)
    }
}

/// Without a database there is no row: whoever is built upon this library is built all the same.
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
impl<T> sealed::ColumnName for T {}

#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
impl<'r, T> sealed::Column<'r> for T {
    fn from_row(row: &'r Row, _: &impl sealed::ColumnName) -> Result<Self, sqlx::Error> {
        match row.0 {
            Inner::None(never) => match never {},
        }
    }
}

/// SQLite's type of what is `NULL`: sqlx knows it, but has no name for it.
#[cfg(feature = "sqlite")]
static NULL: OnceLock<SqliteTypeInfo> = OnceLock::new();

/// Learns it from a column that is an expression and `NULL`: every connection has one for us.
#[cfg(feature = "sqlite")]
pub(crate) fn learn_null(row: &SqliteRow, column: usize) -> Result<(), sqlx::Error> {
    let value = row.try_get_raw(column)?;
    NULL.get_or_init(|| value.type_info().into_owned());
    Ok(())
}

/// The driver takes `NULL` for 0, or for an empty text, where something else than an `Option` is asked for.
#[cfg(feature = "sqlite")]
fn of_sqlite<'r, T, C>(row: &'r SqliteRow, column: &C) -> Result<T, sqlx::Error>
where
    T: Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite>,
    C: ColumnIndex<SqliteRow>,
{
    let is_null = row.try_get_raw(column)?.is_null();
    if is_null && NULL.get().is_some_and(|null| !T::compatible(null)) {
        let source = Box::new(sqlx::error::UnexpectedNullError);
        return Err(sqlx::Error::ColumnDecode { index: format!("{column:?}"), source });
    }
    row.try_get(column)
}

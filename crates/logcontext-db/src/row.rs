//! [`Row`]: what a query answers.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
use sqlx::{ColumnIndex, Decode, Row as _, Type};

use crate::Error;

/// One row.
pub struct Row(pub(crate) Inner);

pub(crate) enum Inner {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
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
impl<T> sealed::ColumnName for T where
    T: ColumnIndex<sqlx::sqlite::SqliteRow> + ColumnIndex<sqlx::postgres::PgRow>
{
}
#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
impl<T: ColumnIndex<sqlx::sqlite::SqliteRow>> sealed::ColumnName for T {}
#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
impl<T: ColumnIndex<sqlx::postgres::PgRow>> sealed::ColumnName for T {}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
impl<'r, T> sealed::Column<'r> for T
where
    T: Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite> + Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>,
{
    fn from_row(row: &'r Row, column: &impl sealed::ColumnName) -> Result<Self, sqlx::Error> {
        match &row.0 {
            Inner::Sqlite(row) => row.try_get(column),
            Inner::Postgres(row) => row.try_get(column),
        }
    }
}

#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
impl<'r, T: Decode<'r, sqlx::Sqlite> + Type<sqlx::Sqlite>> sealed::Column<'r> for T {
    fn from_row(row: &'r Row, column: &impl sealed::ColumnName) -> Result<Self, sqlx::Error> {
        let Inner::Sqlite(row) = &row.0;
        row.try_get(column)
    }
}

#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
impl<'r, T: Decode<'r, sqlx::Postgres> + Type<sqlx::Postgres>> sealed::Column<'r> for T {
    fn from_row(row: &'r Row, column: &impl sealed::ColumnName) -> Result<Self, sqlx::Error> {
        let Inner::Postgres(row) = &row.0;
        row.try_get(column)
    }
}

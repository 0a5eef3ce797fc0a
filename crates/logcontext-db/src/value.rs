//! Values that go into statements and come out of rows, on every database that is built in.

use sqlx::error::BoxDynError;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use sqlx::{Arguments as _, Encode, Type};

use crate::Backend;

/// The arguments of one statement, as its driver wants them.
#[derive(Clone, Debug)]
pub struct Arguments(pub(crate) Inner);

#[derive(Clone, Debug)]
pub(crate) enum Inner {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteArguments),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgArguments),
    #[cfg(not(any(feature = "sqlite", feature = "postgres")))]
    None(std::convert::Infallible),
}

impl Arguments {
    pub(crate) fn of<P: Parameters>(backend: Backend, parameters: P) -> Result<Self, sqlx::Error> {
        let mut arguments = Self::none(backend);
        arguments.bind(parameters)?;
        Ok(arguments)
    }

    pub(crate) fn none(backend: Backend) -> Self {
        Self(match backend {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite => Inner::Sqlite(sqlx::sqlite::SqliteArguments::default()),
            #[cfg(feature = "postgres")]
            Backend::Postgres => Inner::Postgres(sqlx::postgres::PgArguments::default()),
            #[allow(unreachable_patterns, reason = "where both are built in")]
            _ => unreachable!("no connection to a database that is not built in"),
        })
    }

    /// Adds all of a statement's, where they are: moving them about is most of what they cost.
    pub(crate) fn bind<P: Parameters>(&mut self, parameters: P) -> Result<(), sqlx::Error> {
        parameters.bind(self).map_err(sqlx::Error::Encode)?;
        self.check()
    }

    /// The same, where the parameters may be needed again. Answers whether that can be done.
    pub(crate) fn bind_ref<P: Parameters>(&mut self, parameters: &P) -> Result<bool, sqlx::Error> {
        let Some(bound) = parameters.bind_ref(self) else { return Ok(false) };
        bound.map_err(sqlx::Error::Encode)?;
        self.check()?;
        Ok(true)
    }

    /// PostgreSQL counts them in 16 bits, and its driver would call the connection broken. SQLite says so itself.
    fn check(&self) -> Result<(), sqlx::Error> {
        match &self.0 {
            #[cfg(feature = "postgres")]
            Inner::Postgres(arguments) if arguments.len() > usize::from(u16::MAX) => {
                Err(too_many(arguments.len()))
            }
            #[allow(unreachable_patterns, reason = "where none is built in")]
            _ => Ok(()),
        }
    }

    /// Adds one value: the next of `$1`, `$2`, ..
    ///
    /// # Errors
    /// If the value cannot be put into the database's terms.
    pub fn add<T: Parameter>(&mut self, value: T) -> Result<(), BoxDynError> {
        value.add_to(self)
    }
}

#[cfg(feature = "postgres")]
#[cold]
fn too_many(count: usize) -> sqlx::Error {
    let text = format!("expected at most {} parameters for one statement, got {count}", u16::MAX);
    sqlx::Error::Encode(text.into())
}

/// A value that a statement can be given: what sqlx can encode for every database that is built in: `bool`, `i8`,
/// `i16`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, and `Option`s of them for `NULL`.
pub trait Parameter: sealed::Parameter {}

impl<T: sealed::Parameter> Parameter for T {}

mod sealed {
    use super::{Arguments, BoxDynError};

    pub trait Parameter {
        fn add_to(self, arguments: &mut Arguments) -> Result<(), BoxDynError>;

        /// The same, and the value is still there afterwards.
        fn add_ref_to(&self, arguments: &mut Arguments) -> Result<(), BoxDynError>;
    }
}

#[cfg(all(feature = "sqlite", feature = "postgres"))]
impl<'q, T> sealed::Parameter for T
where
    T: Encode<'q, sqlx::Sqlite> + Type<sqlx::Sqlite> + Encode<'q, sqlx::Postgres> + Type<sqlx::Postgres>,
{
    fn add_to(self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        match &mut arguments.0 {
            Inner::Sqlite(arguments) => arguments.add(self),
            Inner::Postgres(arguments) => arguments.add(self),
        }
    }

    fn add_ref_to(&self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        match &mut arguments.0 {
            Inner::Sqlite(arguments) => arguments.add(self),
            Inner::Postgres(arguments) => arguments.add(self),
        }
    }
}

#[cfg(all(feature = "sqlite", not(feature = "postgres")))]
impl<'q, T> sealed::Parameter for T
where
    T: Encode<'q, sqlx::Sqlite> + Type<sqlx::Sqlite>,
{
    fn add_to(self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        let Inner::Sqlite(arguments) = &mut arguments.0;
        arguments.add(self)
    }

    fn add_ref_to(&self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        let Inner::Sqlite(arguments) = &mut arguments.0;
        arguments.add(self)
    }
}

#[cfg(all(feature = "postgres", not(feature = "sqlite")))]
impl<'q, T> sealed::Parameter for T
where
    T: Encode<'q, sqlx::Postgres> + Type<sqlx::Postgres>,
{
    fn add_to(self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        let Inner::Postgres(arguments) = &mut arguments.0;
        arguments.add(self)
    }

    fn add_ref_to(&self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        let Inner::Postgres(arguments) = &mut arguments.0;
        arguments.add(self)
    }
}

/// Without a database there is no statement: whoever is built upon this library is built all the same.
#[cfg(not(any(feature = "sqlite", feature = "postgres")))]
impl<T> sealed::Parameter for T {
    fn add_to(self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        self.add_ref_to(arguments)
    }

    fn add_ref_to(&self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
        match arguments.0 {
            Inner::None(never) => match never {},
        }
    }
}

/// All values of a statement, in the order of `$1`, `$2`, ..: a tuple, or `()` for none. For a number of values that
/// is not known beforehand, implement it.
///
/// ```
/// use logcontext_db::{Arguments, Parameters};
///
/// struct Ids(Vec<i64>);
///
/// impl Parameters for Ids {
///     fn bind(self, arguments: &mut Arguments) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// #       #[cfg(any(feature = "sqlite", feature = "postgres"))]
///         for id in self.0 {
///             arguments.add(id)?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Parameters {
    /// Adds them all.
    ///
    /// # Errors
    /// If one cannot be put into the database's terms.
    fn bind(self, arguments: &mut Arguments) -> Result<(), BoxDynError>;

    /// The same, and they are still there afterwards; `None`, and nothing added, for those that cannot.
    #[doc(hidden)]
    fn bind_ref(&self, _: &mut Arguments) -> Option<Result<(), BoxDynError>> {
        None
    }
}

impl Parameters for () {
    fn bind(self, _: &mut Arguments) -> Result<(), BoxDynError> {
        Ok(())
    }

    fn bind_ref(&self, _: &mut Arguments) -> Option<Result<(), BoxDynError>> {
        Some(Ok(()))
    }
}

macro_rules! tuples {
    ($(($($T:ident)+))*) => {$(
        impl<$($T: Parameter),+> Parameters for ($($T,)+) {
            fn bind(self, arguments: &mut Arguments) -> Result<(), BoxDynError> {
                #[allow(non_snake_case, reason = "the types' names are the values'")]
                let ($($T,)+) = self;
                $(arguments.add($T)?;)+
                Ok(())
            }

            fn bind_ref(&self, arguments: &mut Arguments) -> Option<Result<(), BoxDynError>> {
                #[allow(non_snake_case, reason = "the types' names are the values'")]
                let ($($T,)+) = self;
                $(if let Err(error) = $T.add_ref_to(arguments) {
                    return Some(Err(error));
                })+
                Some(Ok(()))
            }
        }
    )*};
}

tuples! {
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
    (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
}

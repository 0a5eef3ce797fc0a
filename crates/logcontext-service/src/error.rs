//! [`StartError`]: why a server could not start.

use std::error::Error;
use std::fmt::{self, Write};
use std::io;

use crate::config::without_passwords;
use crate::server::BoxError;
use crate::settings::ListenAddress;

/// Why a server could not start. Nothing is left open then.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// It cannot listen there.
    Listen(ListenAddress, io::Error),
    /// A listener's certificate or key is of no use.
    Tls(ListenAddress, BoxError),
    /// The admin listener could be reached from other machines, without a token.
    Exposed(ListenAddress),
    /// The datastore cannot be opened.
    Datastore(BoxError),
    /// The server itself refused.
    Server(BoxError),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Tls(address, _) => write!(f, "cannot listen with TLS on {address}"),
            Self::Exposed(address) => {
                write!(f, "expected `admin.token`: {address} can be reached from other machines")
            }
            Self::Datastore(_) => f.write_str("cannot open the database"),
            Self::Server(_) => f.write_str("cannot start"),
        }
    }
}

impl Error for StartError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Listen(_, error) => Some(error),
            Self::Tls(_, error) | Self::Datastore(error) | Self::Server(error) => Some(&**error),
            Self::Exposed(_) => None,
        }
    }
}

/// An error with its causes on one line, whatever others have put into it, and without passwords. A cause that the
/// error before it has told already is not told again.
pub(crate) fn one_line(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            let _ = write!(line, ": {text}");
        }
        cause = error.source();
    }
    without_passwords(&line.replace(char::is_control, " ")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_causes_are_one_line_and_told_once() {
        let refused = io::Error::other("refused\nby 'postgres://bob:hunter2@db/x'");
        let error = StartError::Datastore(Box::new(refused));
        assert_eq!(one_line(&error), "cannot open the database: refused by 'postgres://bob:***@db/x'");
        let error = StartError::Server(Box::new(StartError::Datastore("cannot start".into())));
        assert_eq!(one_line(&error), "cannot start: cannot open the database");
    }
}

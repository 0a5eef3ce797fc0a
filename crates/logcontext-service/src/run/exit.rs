//! What a server's exit code says.

use std::process::ExitCode;

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// After all had come to its end.
    Clean,
    /// It could not start, or not go on.
    Failed,
    /// The command line or the configuration is wrong.
    Misconfigured,
    /// Something had to be cut off at the shutdown's deadline.
    Unclean,
    /// A second signal, of this number, cut the shutdown short.
    CutShort(u8),
    /// As the daemon says that was started.
    #[cfg(unix)]
    Reported(u8),
}

/// For `--help`.
pub(crate) const HELP: &str = "\
Exits with 0 after a clean shutdown, 1 if it could not start or go on, 2 if the command line or the configuration is \
wrong, 3 if something had to be cut off at the shutdown's deadline, and 128 + n when a second signal n cut the \
shutdown short.";

impl Exit {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Clean => 0,
            Self::Failed => 1,
            Self::Misconfigured => 2,
            Self::Unclean => 3,
            Self::CutShort(signal) => 128_u8.saturating_add(signal),
            #[cfg(unix)]
            Self::Reported(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

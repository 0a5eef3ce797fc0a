//! A server that goes on without its terminal, and the file that says under which process id.

#[cfg(unix)]
mod fork;
mod pid_file;
#[cfg(unix)]
mod report;

#[cfg(unix)]
pub(crate) use fork::{Side, daemonize};
pub(crate) use pid_file::PidFile;
#[cfg(unix)]
pub(crate) use report::Report;

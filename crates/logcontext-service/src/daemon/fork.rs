//! Leaving the terminal: two forks with a new session between them, while there is one thread only.

#![allow(unsafe_code, reason = "fork and its like go through libc")]

use std::fs::{File, OpenOptions};
use std::io::{self, Error};
use std::os::fd::AsRawFd;

use super::report::{Report, Waiting};

/// In whom one finds oneself.
pub(crate) enum Side {
    /// In the process that was started: all that is left for it is to wait for the other's report, and to end.
    Parent(Waiting),
    /// In the server to be. Its input is `/dev/null`; its output is still the terminal's, until it reports.
    Daemon(Report),
}

/// Forks, and leaves the session of the terminal.
///
/// # Errors
/// If there are other threads already, of which nothing would be left but the locks that they hold; or what the system
/// refuses.
pub(crate) fn daemonize() -> io::Result<Side> {
    is_alone()?;
    let (reader, writer) = io::pipe()?;
    if let Some(child) = fork()? {
        drop(writer);
        return Ok(Side::Parent(Waiting::new(reader, child)));
    }
    drop(reader);
    let report = Report::new(writer);
    // From here on an error is the parent's to tell.
    match leave_terminal() {
        Ok(()) => {
            logcontext::after_fork();
            Ok(Side::Daemon(report))
        }
        Err(error) => {
            report.failed(&format!("cannot leave the terminal: {error}"), 1);
            exit(1)
        }
    }
}

/// Its own session, which has no terminal; and as no leader of it, so that it never gets one.
fn leave_terminal() -> io::Result<()> {
    // SAFETY: setsid takes nothing and touches no memory of ours.
    check(unsafe { libc::setsid() })?;
    if fork()?.is_some() {
        exit(0);
    }
    redirect(&File::open("/dev/null")?, libc::STDIN_FILENO)
}

/// What is printed from now on goes nowhere: the terminal may be gone.
pub(super) fn silence() -> io::Result<()> {
    let null = OpenOptions::new().write(true).open("/dev/null")?;
    redirect(&null, libc::STDOUT_FILENO)?;
    redirect(&null, libc::STDERR_FILENO)
}

fn redirect(to: &File, descriptor: i32) -> io::Result<()> {
    // SAFETY: both descriptors are open: one is the file's, which outlives the call, the other one of the three that
    // every process is started with, and that nothing here owns.
    check(unsafe { libc::dup2(to.as_raw_fd(), descriptor) }).map(drop)
}

/// The child's process id, in the parent.
fn fork() -> io::Result<Option<i32>> {
    // SAFETY: there is one thread only (`is_alone`), so no other one holds a lock that the child would wait for.
    let child = check(unsafe { libc::fork() })?;
    Ok((child != 0).then_some(child))
}

/// Without anything that runs at the end of a process: that is the other side's.
fn exit(code: i32) -> ! {
    // SAFETY: _exit takes a number, touches no memory of ours and does not return.
    unsafe { libc::_exit(code) }
}

/// Waits until that child has ended, which it does at once.
pub(super) fn reap(child: i32) {
    // SAFETY: the child is ours, and waited for nowhere else; waitpid allows to be given no place for the status.
    while unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } == -1
        && Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

fn check(answer: i32) -> io::Result<i32> {
    if answer == -1 { Err(Error::last_os_error()) } else { Ok(answer) }
}

/// Where the system lists the threads of a process; elsewhere this has to be believed.
fn is_alone() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task").map(Iterator::count) {
        Ok(threads) if threads > 1 => Err(Error::other(format!(
            "expected one thread, there are {threads}: `--daemonize` forks, so nothing may be started before `run`"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_other_threads_does_not_fork() {
        // Test harnesses run each test on a thread of its own.
        let error = match daemonize() {
            Err(error) => error.to_string(),
            Ok(Side::Parent(_)) => panic!("it has forked"),
            Ok(Side::Daemon(_)) => exit(1),
        };
        assert!(error.contains("expected one thread, there are "), "{error}");
    }
}

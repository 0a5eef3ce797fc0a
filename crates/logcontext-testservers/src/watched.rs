//! A server that does not outlive whoever started it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::account::Account;
use crate::folder::TempFolder;
use crate::poll::poll;

/// Starts the server, sends it the signals that it reads, and ends it when the pipe closes. As the server's
/// parent, the shell knows its process id for sure.
///
/// When whoever started this is gone while the server is paused, the kernel finds a process group with a stopped
/// process and nobody to wake it, and sends it SIGHUP. It must not end the shell.
const WATCH: &str = r#"
trap '' HUP
last=$1
shift
exec 3<&0
"$@" </dev/null >&2 3<&- &
server=$!
{
    while read -r signal; do kill -s "$signal" "$server"; done
    kill -s "$last" "$server"
    kill -s CONT "$server"
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 1 >&2; done
    kill -s KILL "$server"
} <&3 &
signals=$!
wait "$server"
status=$?
kill "$signals"
exit "$status"
"#;

/// A running server and the shell that watches over it. The shell ends the server when this is dropped, and also
/// when this process is gone for whatever reason: SIGKILL cannot be caught, but it closes the pipe.
#[derive(Debug)]
pub(crate) struct Watched {
    shell: Child,
    /// Only `None` while dropped
    signals: Option<ChildStdin>,
}

impl Watched {
    /// Starts `command` as `account`, in `folder`, which stays until the server has ended. `last` is the signal
    /// that ends this server for good; its output goes to `log`.
    pub(crate) fn start<S: AsRef<OsStr>>(
        command: &[S],
        last: &str,
        account: Account,
        folder: &TempFolder,
        log: File,
    ) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        account.run(&mut shell);
        let mut shell = shell
            .args(["-c", WATCH, "sh", last])
            .args(command)
            .env("LC_ALL", "C")
            .current_dir(folder.path())
            // Signals from the terminal or from whoever runs the tests are for the tests.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(folder.hold()?)
            .stderr(log)
            .spawn()?;
        Ok(Self { signals: shell.stdin.take(), shell })
    }

    /// Sends a signal to the server, such as `TERM`.
    pub(crate) fn signal(&mut self, name: &str) -> io::Result<()> {
        // It goes through in one piece: a pipe takes so few bytes at once.
        self.signals.as_mut().map_or(Ok(()), |signals| signals.write_all(format!("{name}\n").as_bytes()))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.shell.try_wait(), Ok(None))
    }

    /// Waits until the server has ended. Did it?
    pub(crate) fn wait(&mut self) -> bool {
        poll(|| self.has_ended().then_some(())).is_some()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.signals.take());
        // Not for ever: a test that hangs tells nobody why.
        let _ = self.wait();
    }
}

//! [`Watched`]: a process that does not outlive this one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Starts a program, sends it the signals that it reads, and ends it when the pipe closes: by SIGTERM, and by SIGKILL if
/// that does not help for five seconds. As its parent, the shell knows its process id for sure.
const WATCH: &str = r#"
trap '' HUP INT
exec 3<&0
"$@" </dev/null >&2 3<&- &
process=$!
{
    while read -r signal; do kill -s "$signal" "$process"; done
    kill -s TERM "$process"
    for _ in 1 2 3 4 5; do sleep 1 >&2; done
    kill -s KILL "$process"
} <&3 2>/dev/null &
signals=$!
wait "$process"
status=$?
kill "$signals" 2>/dev/null
exit "$status"
"#;

/// How long it may take to be gone once the pipe is closed.
const PATIENCE: Duration = Duration::from_secs(8);

/// A process and the shell that watches over it. The shell ends it when this is dropped, and also when the demo is gone
/// for whatever reason: SIGKILL cannot be caught, but it closes the pipe.
#[derive(Debug)]
pub(super) struct Watched {
    shell: Child,
    /// Only `None` while dropped.
    signals: Option<ChildStdin>,
}

impl Watched {
    /// Starts it in this folder. All that it writes goes to `log`.
    pub(super) fn start<S: AsRef<OsStr>>(command: &[S], folder: &Path, log: File) -> io::Result<Self> {
        let mut shell = Command::new("/bin/sh");
        // What is meant for a service of somebody's would be stronger than the demo's configuration.
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PRESENCE_"))
        {
            shell.env_remove(name);
        }
        let mut shell = shell
            .args(["-c", WATCH, "sh"])
            .args(command)
            .current_dir(folder)
            // Ctrl-C is for the demo, which ends all in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { signals: shell.stdin.take(), shell })
    }

    /// Sends it a signal, such as `KILL`.
    ///
    /// # Errors
    /// If it is gone, and so is who would pass it on.
    pub(super) fn signal(&mut self, name: &str) -> io::Result<()> {
        // It goes through in one piece: a pipe takes so few bytes at once.
        self.signals.as_mut().map_or(Ok(()), |signals| signals.write_all(format!("{name}\n").as_bytes()))
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.shell.try_wait()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.signals.take());
        // Not for ever: what is left then is the shell's to end.
        let until = Instant::now() + PATIENCE;
        while matches!(self.shell.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<T>(mut get: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(got) = get() {
                return got;
            }
            assert!(Instant::now() < until, "not in time");
            std::thread::yield_now();
        }
    }

    /// Writes its process id, and ignores what it is told to.
    fn started(folder: &Path, ignored: &str) -> (Watched, u32) {
        let log = File::create(folder.join("log")).unwrap();
        let script = format!("trap '' {ignored}; echo $$ >id.part; mv id.part id; while :; do sleep 1; done");
        let watched = Watched::start(&["/bin/sh", "-c", &script], folder, log).unwrap();
        let id = poll(|| std::fs::read_to_string(folder.join("id")).ok());
        (watched, id.trim().parse().unwrap())
    }

    fn is_there(id: u32) -> bool {
        let kill =
            Command::new("/bin/sh").args(["-c", &format!("kill -0 {id}")]).stderr(Stdio::null()).status();
        kill.unwrap().success()
    }

    #[test]
    fn it_is_gone_with_its_handle_and_killed_if_need_be() {
        let folder = tempfile::tempdir().unwrap();
        for ignored in ["USR1", "TERM"] {
            let (watched, id) = started(folder.path(), ignored);
            assert!(is_there(id));
            drop(watched);
            assert!(!is_there(id), "ignoring {ignored}");
            std::fs::remove_file(folder.path().join("id")).unwrap();
        }
    }

    #[test]
    fn a_signal_reaches_it_and_its_end_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let (mut watched, id) = started(folder.path(), "USR1");
        assert!(watched.ended().unwrap().is_none());
        watched.signal("KILL").unwrap();
        let status = poll(|| watched.ended().unwrap());
        assert_eq!(status.code(), Some(128 + 9));
        assert!(!is_there(id));
    }
}

//! A folder that does not outlive its owner, however that ends.

use std::env;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::poll::poll;
use crate::port::random;

/// Removes the folder once nobody holds the pipe any more. A server that was just killed may still be writing,
/// hence the tries.
const GUARD: &str = r#"
while read -r _; do :; done
for _ in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" && exit
    sleep 1
done
exit 1
"#;

/// A temporary folder that its creator alone can read. It is removed when this is dropped, or when the process
/// is gone for whatever reason: by a shell that holds a pipe from here, and notices when the pipe closes.
#[derive(Debug)]
pub(crate) struct TempFolder {
    path: PathBuf,
    guard: Child,
    /// Only `None` while dropped
    pipe: Option<ChildStdin>,
}

impl TempFolder {
    pub(crate) fn create(name: &str) -> io::Result<Self> {
        let path = env::temp_dir().join(format!("logcontext-{name}-{:016x}", random()));
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        let guard = Command::new("/bin/sh")
            .args(["-c", GUARD, "sh"])
            .arg(&path)
            .current_dir("/")
            // Signals from the terminal or from whoever runs the tests are for the tests.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match guard {
            Ok(mut guard) => Ok(Self { path, pipe: guard.stdin.take(), guard }),
            Err(error) => {
                let _ = fs::remove_dir(&path);
                Err(error)
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// To be held by a process that works in the folder, as its standard output: the folder stays until that
    /// process has ended, even if this one is killed.
    pub(crate) fn hold(&self) -> io::Result<Stdio> {
        let pipe = self.pipe.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(pipe.as_fd().try_clone_to_owned()?.into())
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // Not for ever: a test that hangs tells nobody why.
        let _ = poll(|| (!matches!(self.guard.try_wait(), Ok(None))).then_some(()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_folder_is_gone_with_all_in_it() {
        let folder = TempFolder::create("dropped").unwrap();
        let path = folder.path().to_owned();
        fs::create_dir(path.join("inner")).unwrap();
        fs::write(path.join("inner").join("file"), "text").unwrap();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn the_folder_waits_for_whoever_works_in_it() {
        let mut folder = TempFolder::create("held").unwrap();
        let path = folder.path().to_owned();
        // It ends when told so, and not before it has written to the folder.
        let mut worker = Command::new("/bin/sh")
            .args(["-c", "read -r _; echo text > \"$1/file\" && cat \"$1/file\" >&2", "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(folder.hold().unwrap())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // As if this process were gone.
        drop(folder.pipe.take());
        assert!(folder.guard.try_wait().unwrap().is_none());
        drop(worker.stdin.take());
        let output = worker.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "text\n");
        assert!(folder.guard.wait().unwrap().success());
        assert!(!path.exists());
    }
}

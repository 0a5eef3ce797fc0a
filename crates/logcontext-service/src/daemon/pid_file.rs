//! [`PidFile`]: says which process the server is, and keeps a second one from starting.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A file with the process's id in it, under a lock that lasts as long as the process: what is left of one that was
/// killed is in nobody's way.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    file: File,
    /// Who made it, and who it is handed on to at a fork.
    is_mine: bool,
}

impl PidFile {
    /// Makes the file, or takes it over, and locks it. What stands in it is written by [`write`](Self::write).
    ///
    /// # Errors
    /// If another process holds it, or the file cannot be made.
    pub(crate) fn lock(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        loop {
            let mut file =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(held(&mut file)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Its owner may have removed it between our opening and our locking: then it is not the one of that name.
            if is_there(&file, &path)? {
                return Ok(Self { path, file, is_mine: true });
            }
        }
    }

    /// Writes the id of this process.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) fn write(&mut self) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        writeln!(self.file, "{}", std::process::id())
    }

    /// It is the child's from now on: the lock is held as long as either of the two has the file open.
    #[cfg(unix)]
    pub(crate) fn hand_on(mut self) {
        self.is_mine = false;
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if self.is_mine {
            // While it is locked: whoever has opened it meanwhile sees that it is gone.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn held(file: &mut File) -> io::Error {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(id) => io::Error::other(format!("process {id} holds it: is the server running already?")),
        Err(_) => io::Error::other("another process holds it: is the server running already?"),
    }
}

#[cfg(unix)]
fn is_there(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// What is open cannot be removed there.
#[cfg(not(unix))]
fn is_there(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;

    #[test]
    fn it_says_who_runs_and_is_gone_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let mut file = PidFile::lock(&path).unwrap();
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        let error = PidFile::lock(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} holds it", std::process::id())), "{error}");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_server_has_left_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        fs::write(&path, "4194304\n and more than that").unwrap();
        let mut file = PidFile::lock(&path).unwrap();
        file.write().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn however_they_come_and_go_there_is_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let (holders, turns) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|threads| {
            for _ in 0..4 {
                #[expect(clippy::disallowed_methods, reason = "stands for another process")]
                threads.spawn(|| {
                    while turns.load(SeqCst) < 100 {
                        if let Ok(file) = PidFile::lock(&path) {
                            assert_eq!(holders.fetch_add(1, SeqCst), 0, "two hold it");
                            (0..5).for_each(|_| std::thread::yield_now());
                            turns.fetch_add(1, SeqCst);
                            holders.fetch_sub(1, SeqCst);
                            drop(file);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn handed_on_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        PidFile::lock(&path).unwrap().hand_on();
        assert!(path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn one_that_was_removed_while_it_was_opened_is_not_taken_for_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.pid");
        let old = File::create(&path).unwrap();
        assert!(is_there(&old, &path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(!is_there(&old, &path).unwrap());
        let _new = File::create(&path).unwrap();
        assert!(!is_there(&old, &path).unwrap());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(PidFile::lock(&folder.path().join("none").join("server.pid")).is_err());
        assert!(PidFile::lock(folder.path()).is_err());
    }
}

//! [`UnixSocket`]: a socket's file, gone with it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// A listener on a Unix socket, and the file that goes with it.
#[derive(Debug)]
pub(super) struct UnixSocket {
    listener: UnixListener,
    file: SocketFile,
}

/// Removed when this is dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl UnixSocket {
    /// Makes the file. One that a killed server has left is taken over; one that somebody answers on is not.
    ///
    /// # Errors
    /// If the address is in use, or the file cannot be made.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_left(path) => {
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            listener => listener?,
        };
        Ok(Self { listener, file: SocketFile(std::path::absolute(path)?) })
    }

    pub(super) fn into_parts(self) -> (UnixListener, SocketFile) {
        (self.listener, self.file)
    }
}

/// Is it a socket that nobody listens on any more?
fn is_left(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap()
    }

    #[test]
    fn a_sockets_file_is_gone_with_it_and_one_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.sock");
        runtime().block_on(async {
            let socket = UnixSocket::bind(&path).unwrap();
            assert_eq!(UnixSocket::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
            assert!(path.exists(), "it is the first one's");
            drop(socket);
            assert!(!path.exists());
        });
    }

    #[test]
    fn what_a_killed_server_has_left_is_taken_over_but_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.sock");
        runtime().block_on(async {
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists());
            drop(UnixSocket::bind(&path).unwrap());
            fs::write(&path, "precious").unwrap();
            assert_eq!(UnixSocket::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
            assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        });
    }
}

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::{UnixListener, UnixStream};

use super::Listener;
use crate::connection::ConnectionInfo;

impl Listener for UnixListener {
    type Stream = UnixStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, ConnectionInfo)>> {
        let (stream, _) = ready!(Self::poll_accept(self, cx))?;
        let address = self.local_addr().ok();
        let socket = address.as_ref().and_then(|address| address.as_pathname()?.file_name()?.to_str());
        Poll::Ready(Ok((stream, ConnectionInfo::unix_named(socket))))
    }
}

use std::io;
use std::task::{Context, Poll, ready};

use tokio::net::{TcpListener, TcpStream};

use super::Listener;
use crate::connection::ConnectionInfo;

impl Listener for TcpListener {
    type Stream = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, ConnectionInfo)>> {
        let (stream, peer) = ready!(Self::poll_accept(self, cx))?;
        // Responses are written whole: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        // What is reset already may not know its own end.
        let local = stream.local_addr().or_else(|_| self.local_addr())?;
        Poll::Ready(Ok((stream, ConnectionInfo::new(peer, local))))
    }
}

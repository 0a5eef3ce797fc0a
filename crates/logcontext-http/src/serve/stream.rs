use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::ClosedByClient;

pin_project_lite::pin_project! {
    /// A client's stream, which tells when the client has closed its end.
    pub(super) struct Stream<I> {
        #[pin]
        io: I,
        closed: ClosedByClient,
    }
}

impl<I> Stream<I> {
    pub(super) fn new(io: I, closed: ClosedByClient) -> Self {
        Self { io, closed }
    }
}

impl<I: AsyncRead> AsyncRead for Stream<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let (room, before) = (buf.remaining(), buf.filled().len());
        let result = ready!(this.io.poll_read(cx, buf));
        if result.is_err() || (room > 0 && buf.filled().len() == before) {
            this.closed.set();
        }
        Poll::Ready(result)
    }
}

impl<I: AsyncWrite> AsyncWrite for Stream<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.project().io.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().io.poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_shutdown(cx)
    }
}

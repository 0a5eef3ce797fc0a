use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::connection::ConnectionInfo;

/// How long a client that was refused may take to notice.
const LINGER: Duration = Duration::from_secs(2);

pin_project_lite::pin_project! {
    /// A client's stream, which tells when the client has closed its end.
    pub(super) struct Stream<I> {
        #[pin]
        io: I,
        info: ConnectionInfo,
        lingering: Option<Pin<Box<Sleep>>>,
    }
}

impl<I> Stream<I> {
    pub(super) fn new(io: I, info: ConnectionInfo) -> Self {
        Self { io, info, lingering: None }
    }
}

impl<I: AsyncRead> AsyncRead for Stream<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        let (room, before) = (buf.remaining(), buf.filled().len());
        let result = ready!(this.io.poll_read(cx, buf));
        if result.is_err() || (room > 0 && buf.filled().len() == before) {
            this.info.set_closed_by_client();
        }
        Poll::Ready(result)
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncWrite for Stream<I> {
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
        let mut this = self.project();
        if this.lingering.is_none() {
            match ready!(this.io.as_mut().poll_shutdown(cx)) {
                Ok(()) => {}
                // A goodbye to somebody who has left already: TLS says one, and a Unix socket does not take it.
                Err(_) if this.info.is_closed_by_client() => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
            if !this.info.is_refused() {
                return Poll::Ready(Ok(()));
            }
        }
        // To close what has something unread resets the connection, and the client may lose the response: it still
        // writes, and reads only after that.
        let end = this.lingering.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        if end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        poll_discard(this.io, cx).map(Ok)
    }
}

/// Reads until the client has closed its end, or broken off.
fn poll_discard<I: AsyncRead>(mut io: Pin<&mut I>, cx: &mut Context<'_>) -> Poll<()> {
    let mut room = [MaybeUninit::uninit(); 8 * 1_024];
    loop {
        let mut buf = ReadBuf::uninit(&mut room);
        let result = ready!(io.as_mut().poll_read(cx, &mut buf));
        if result.is_err() || buf.filled().is_empty() {
            return Poll::Ready(());
        }
    }
}

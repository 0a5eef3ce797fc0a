//! A client's stream as the server sees it.

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

/// So many bytes in several parts are written as one: to copy them takes less than to have the kernel collect them.
const SMALL: usize = 2 * 1_024;

/// A client that says more while its request is under way is still there: of that, so many bytes are kept.
const AHEAD: usize = 16;

pin_project_lite::pin_project! {
    /// A client's stream, which tells when the client has closed its end.
    ///
    /// It looks for that by itself while a request is under way, because hyper, which reads nothing then, is
    /// [told not to](hyper::server::conn::http1::Builder::half_close): it would take a new buffer for it with each
    /// request, as the request still has the old one.
    pub(super) struct Stream<I> {
        #[pin]
        io: I,
        info: ConnectionInfo,
        ahead: Ahead,
        // A read waits: whoever does will see the end.
        is_awaited: bool,
        // The end has been seen once since the last read.
        is_suspected: bool,
        lingering: Option<Pin<Box<Sleep>>>,
    }
}

/// What has come and nobody has read.
#[derive(Default)]
struct Ahead {
    bytes: [u8; AHEAD],
    length: usize,
    error: Option<io::Error>,
    /// Somebody has asked for the error.
    is_due: bool,
}

impl<I> Stream<I> {
    pub(super) fn new(io: I, info: ConnectionInfo) -> Self {
        Self { io, info, ahead: Ahead::default(), is_awaited: false, is_suspected: false, lingering: None }
    }
}

impl<I: AsyncRead> Stream<I> {
    /// Between reads: is the client still there? Who polls this is woken when there is something to see.
    fn look_ahead(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        if *this.is_awaited || this.ahead.length > 0 {
            return;
        }
        if this.ahead.error.is_none() {
            let mut buf = ReadBuf::new(&mut this.ahead.bytes);
            let Poll::Ready(result) = this.io.poll_read(cx, &mut buf) else { return };
            this.ahead.length = buf.filled().len();
            this.ahead.error = result.err();
            if this.ahead.length > 0 {
                return;
            }
        }
        this.info.set_closed_by_client();
        if this.info.has_body() && !std::mem::replace(this.is_suspected, true) {
            // A handler that waits for the rest of its request's body is to hear from there that it does not come: it
            // is asked first.
            cx.waker().wake_by_ref();
        } else {
            this.info.set_left(true);
        }
    }
}

impl Ahead {
    #[inline]
    fn is_empty(&self) -> bool {
        self.length == 0 && self.error.is_none()
    }

    /// An error is told at the second time of asking. hyper asks once at the end of each response, where an error is one
    /// of the connection, and then for the next request, where it is but a client that has left.
    #[cold]
    fn poll_take(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.length > 0 {
            let taken = self.length.min(buf.remaining());
            buf.put_slice(&self.bytes[..taken]);
            self.bytes.copy_within(taken..self.length, 0);
            self.length -= taken;
        } else if !std::mem::replace(&mut self.is_due, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        } else if let Some(error) = self.error.take() {
            self.is_due = false;
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead> AsyncRead for Stream<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        if this.ahead.is_empty() {
            let (room, before) = (buf.remaining(), buf.filled().len());
            let read = this.io.poll_read(cx, buf);
            (*this.is_awaited, *this.is_suspected) = (read.is_pending(), false);
            match ready!(read) {
                Ok(()) => {
                    if room > 0 && buf.filled().len() == before {
                        this.info.set_closed_by_client();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    this.info.set_closed_by_client();
                    this.ahead.error = Some(error);
                }
            }
        }
        // Who reads sees to the end.
        this.info.set_left(false);
        let taken = this.ahead.poll_take(cx, buf);
        (*this.is_awaited, *this.is_suspected) = (taken.is_pending(), false);
        taken
    }
}

impl<I: AsyncRead + AsyncWrite> AsyncWrite for Stream<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.as_mut().project().io.poll_write(cx, bytes);
        if written.is_pending() {
            self.look_ahead(cx);
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if parts.len() > 1 && parts.iter().map(|part| part.len()).sum::<usize>() <= SMALL {
            let mut room = [MaybeUninit::uninit(); SMALL];
            let mut whole = ReadBuf::uninit(&mut room);
            parts.iter().for_each(|part| whole.put_slice(part));
            return self.poll_write(cx, whole.filled());
        }
        let written = self.as_mut().project().io.poll_write_vectored(cx, parts);
        if written.is_pending() {
            self.look_ahead(cx);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes at the end of each of its polls, whether there is something to flush or not.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_mut().look_ahead(cx);
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn stream<I>(io: I) -> (Stream<I>, ConnectionInfo) {
        let info = ConnectionInfo::unix();
        (Stream::new(io, info.clone()), info)
    }

    #[tokio::test]
    async fn what_a_client_says_while_it_is_looked_for_is_read_afterwards() {
        let (io, mut client) = tokio::io::duplex(1_000);
        let (mut stream, info) = stream(io);
        let said: Vec<u8> = (0..100).collect();
        client.write_all(&said).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.ahead.length, AHEAD);
        drop(client);
        stream.flush().await.unwrap();
        assert!(!info.has_left(), "there is something to read before that");
        let mut read = Vec::new();
        let mut some = [0; 5];
        loop {
            match stream.read(&mut some).await.unwrap() {
                0 => break,
                n => read.extend_from_slice(&some[..n]),
            }
        }
        assert_eq!(read, said);
        assert!(info.is_closed_by_client());
    }

    #[tokio::test]
    async fn who_reads_sees_the_end_and_who_does_not_is_told() {
        for is_read in [false, true] {
            let (io, client) = tokio::io::duplex(10);
            let (mut stream, info) = stream(io);
            if is_read {
                let mut room = [0; 10];
                let mut room = ReadBuf::new(&mut room);
                let nobody = &mut Context::from_waker(Waker::noop());
                assert!(Pin::new(&mut stream).poll_read(nobody, &mut room).is_pending());
            }
            stream.flush().await.unwrap();
            drop(client);
            assert!(!info.has_left());
            stream.flush().await.unwrap();
            assert_eq!(info.has_left(), !is_read);
            assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn who_waits_to_write_is_told_as_well() {
        for parts in [1, 2] {
            let (io, mut client) = tokio::io::duplex(10);
            let (mut stream, info) = stream(io);
            let bytes = [0; SMALL];
            let parts = vec![io::IoSlice::new(&bytes); parts];
            client.write_all(b"half").await.unwrap();
            let mut written = 0;
            let mut write = async || {
                written += poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &parts)).await.unwrap();
            };
            write().await;
            let waiting = tokio::time::timeout(Duration::from_millis(1), write()).await;
            assert!(waiting.is_err());
            assert_eq!((written, &stream.ahead.bytes[..4], info.has_left()), (10, &b"half"[..], false));
        }
    }

    /// Fails with this when it is read, once; takes what is written, and says in what pieces.
    #[derive(Default)]
    struct Scripted {
        error: Option<io::Error>,
        written: Vec<Vec<usize>>,
    }

    impl AsyncRead for Scripted {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(self.error.take().map_or(Ok(()), Err))
        }
    }

    impl AsyncWrite for Scripted {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
            self.written.push(vec![b.len()]);
            Poll::Ready(Ok(b.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            parts: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.written.push(parts.iter().map(|part| part.len()).collect());
            Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_error_that_was_found_by_looking_is_told_to_who_reads_next() {
        let error = Some(io::ErrorKind::ConnectionReset.into());
        let (mut stream, info) = stream(Scripted { error, ..Scripted::default() });
        stream.flush().await.unwrap();
        assert!(info.has_left());
        stream.flush().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert!(!info.has_left(), "who reads sees to the end");
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn an_error_is_told_at_the_second_time_of_asking_and_who_asks_is_woken() {
        let error = Some(io::ErrorKind::ConnectionReset.into());
        let (mut stream, info) = stream(Scripted { error, ..Scripted::default() });
        let mut room = [0; 10];
        let mut room = ReadBuf::new(&mut room);
        let nobody = &mut Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut stream).poll_read(nobody, &mut room).is_pending());
        assert!(info.is_closed_by_client());
        let again = Pin::new(&mut stream).poll_read(nobody, &mut room);
        assert!(matches!(again, Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn little_is_written_in_one_piece_and_much_as_it_is() {
        let (mut stream, _) = stream(Scripted::default());
        let bytes = [0; SMALL];
        for lengths in [&[300, 20][..], &[SMALL - 1, 1], &[SMALL, 1], &[7], &[0, 0]] {
            let parts: Vec<_> = lengths.iter().map(|&length| io::IoSlice::new(&bytes[..length])).collect();
            let n = poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &parts)).await.unwrap();
            assert_eq!(n, lengths.iter().sum::<usize>());
        }
        assert_eq!(stream.io.written, [vec![320], vec![SMALL], vec![SMALL, 1], vec![7], vec![0]]);
    }
}

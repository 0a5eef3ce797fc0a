//! What connections come from.

mod tcp;
#[cfg(unix)]
mod unix;

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use crate::connection::ConnectionInfo;

/// What [`serve`](crate::serve) accepts connections from: tokio's `TcpListener`, its `UnixListener` on Unix, or one
/// of your own. After axum's trait of the same name.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// use axum::{Extension, Router, routing::get};
/// use logcontext::{Supervisor, background};
/// use logcontext_http::{ConnectionInfo, Listener, ServeOptions, serve};
/// use std::io;
/// use std::task::{Context, Poll, ready};
/// use std::time::Duration;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
/// use tokio::sync::mpsc;
///
/// /// Connections within the process: no port, and nobody else gets in.
/// struct InProcess(mpsc::Receiver<DuplexStream>);
///
/// impl Listener for InProcess {
///     type Stream = DuplexStream;
///
///     fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(DuplexStream, ConnectionInfo)>> {
///         match ready!(self.0.poll_recv(cx)) {
///             Some(stream) => Poll::Ready(Ok((stream, ConnectionInfo::unix()))),
///             None => Poll::Pending, // nobody can connect any more
///         }
///     }
/// }
///
/// let who = |Extension(info): Extension<ConnectionInfo>| async move { format!("local: {}", info.is_unix()) };
/// let service = Supervisor::new("presence");
/// let (connect, listener) = mpsc::channel(10);
/// let options = ServeOptions::default().supervisor(&service);
/// let served = background::run("http", serve(InProcess(listener), Router::new().route("/", get(who)), options));
///
/// let (mut client, stream) = duplex(4_096);
/// connect.send(stream).await.expect("the listener is there");
/// client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
/// let mut response = String::new();
/// client.read_to_string(&mut response).await?;
/// assert!(response.ends_with("\r\n\r\nlocal: true"));
///
/// service.shutdown(Duration::from_secs(5)).await;
/// assert_eq!(served.await.expect("no panic")?.connections, 1);
/// # Ok(())
/// # }
/// ```
pub trait Listener: Send + 'static {
    /// What is read from and written to.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection, and what requests shall know of it. It is called in the listener's context, and what it
    /// does keeps the next client waiting: what takes longer belongs into the stream.
    ///
    /// # Errors
    /// If a client had left before it was accepted: `ConnectionAborted`, `ConnectionReset` or `ConnectionRefused`.
    /// The next one is asked for at once. After any other error, such as too many open files, it is asked again
    /// after a while, from 10 ms up to a second while it lasts.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, ConnectionInfo)>>;
}

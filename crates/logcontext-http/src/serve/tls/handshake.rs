//! The handshake, in the context of its connection.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use logcontext::Ending;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::server::TlsStream;
use tower_service::Service;

use super::Tls;
use crate::serve::connection::{self, Connection};

/// Encrypts the connection, within this time, and then serves its requests.
pub(in crate::serve) async fn drive<I, S, B>(
    mut connection: Connection,
    io: I,
    tls: Tls,
    limit: Duration,
    service: S,
    http: http1::Builder,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<http::Request<Incoming>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let handshake = tls.acceptor().accept(io);
    // Whoever has not asked for anything by the time of a shutdown is not waited for.
    let result = tokio::select! {
        biased;
        () = connection.draining() => None,
        result = tokio::time::timeout(limit, handshake) => Some(result),
    };
    let result = result.map(|in_time| in_time.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())));
    match result {
        Some(Ok(stream)) => {
            connection.is_encrypted();
            // On the heap: it is large, and is moved about.
            let stream: Box<TlsStream<I>> = Box::new(stream);
            connection::drive(connection, stream, service, http).await;
        }
        Some(Err(error)) => {
            tracing::debug!(target: "logcontext::http", %error, "TLS handshake failed");
            connection.end(ending(&error));
        }
        None => connection.end(Ending::Cancelled),
    }
}

/// What the client sent is its failure; the rest is the way of networks.
fn ending(error: &io::Error) -> Ending {
    if error.kind() == ErrorKind::InvalidData { Ending::Failed } else { Ending::Cancelled }
}

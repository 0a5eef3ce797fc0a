//! One connection to a hub.

use std::fmt;
use std::future::Future;
use std::pin::pin;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// A connection on which nothing is under way.
pub(super) struct Connection {
    requests: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<TokioIo<TcpStream>, Full<Bytes>>,
}

/// Why a hub has not answered.
#[derive(Debug)]
pub(in crate::sender) enum AskError {
    /// The URL has no host.
    NoHost,
    /// There is no connection to be had.
    Connect(std::io::Error),
    /// The connection has ended before the answer.
    Lost(hyper::Error),
    /// The answer is too long, or breaks off.
    Answer(String),
}

impl Connection {
    pub(super) async fn open(authority: &Authority) -> Result<Self, AskError> {
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let to = (host, authority.port_u16().unwrap_or(80));
        let stream = TcpStream::connect(to).await.map_err(AskError::Connect)?;
        stream.set_nodelay(true).map_err(AskError::Connect)?;
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await.map_err(AskError::Lost)?;
        Ok(Self { requests, driver })
    }

    /// The whole answer; and the connection, if it can be used again.
    pub(super) async fn ask(
        self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Response<Bytes>, Option<Self>), AskError> {
        let Self { mut requests, mut driver } = self;
        let answer = async {
            requests.ready().await.map_err(AskError::Lost)?;
            let response = requests.send_request(request).await.map_err(AskError::Lost)?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|error| AskError::Answer(error.to_string()))?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        let (answer, is_open) = beside(answer, &mut driver).await;
        // It sees to the end of the answer once more; nobody waits for that.
        let is_usable = is_open && (&mut driver).now_or_never().is_none() && requests.is_ready();
        Ok((answer?, is_usable.then_some(Self { requests, driver })))
    }
}

/// Polls the driver until the work is done; answers whether there is more of the driver.
async fn beside<T>(work: impl Future<Output = T>, driver: impl Future + Unpin) -> (T, bool) {
    let (mut work, mut driver) = (pin!(work), driver);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            _ = &mut driver, if is_open => is_open = false,
            output = &mut work => return (output, is_open),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHost => f.write_str("its URL has no host"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
            Self::Answer(error) => write!(f, "cannot read the answer: {error}"),
        }
    }
}

impl std::error::Error for AskError {}

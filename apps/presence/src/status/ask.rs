//! Asking one process for its page: within a time, and no more than so many bytes.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::handshake;
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use logcontext::run_in_background;
use logcontext_service::config::Secret;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::ProcessAddress;

/// A process with all labels and figures that it may have stays far below.
const MOST_BYTES: usize = 16 << 20;

/// The page.
///
/// # Errors
/// What came of it instead: for people, without anything that was sent.
pub(super) async fn ask(
    address: &ProcessAddress,
    token: Option<&Secret>,
    patience: Duration,
) -> Result<Bytes, String> {
    let asking = async {
        match address {
            ProcessAddress::Tcp(host) => {
                let stream = TcpStream::connect(host).await.map_err(|error| no_connection(&error))?;
                page_of(stream, host, token).await
            }
            #[cfg(unix)]
            ProcessAddress::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await;
                page_of(stream.map_err(|error| no_connection(&error))?, "localhost", token).await
            }
            #[cfg(not(unix))]
            ProcessAddress::Unix(_) => Err("expected a Unix system for its socket".to_owned()),
        }
    };
    let answer = timeout(patience, asking).await;
    answer.unwrap_or_else(|_| Err(format!("no answer within {}", humantime::format_duration(patience))))
}

fn no_connection(error: &std::io::Error) -> String {
    format!("no connection: {error}")
}

async fn page_of(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    host: &str,
    token: Option<&Secret>,
) -> Result<Bytes, String> {
    let no_http = |_: hyper::Error| "the answer is no HTTP".to_owned();
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(no_http)?;
    // What goes wrong there is seen by who waits for the answer.
    run_in_background(async {
        let _ = connection.await;
    });
    let mut request = Request::get("/status").header(HOST, host);
    if let Some(token) = token {
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut value =
            value.map_err(|_| "the token cannot be sent: expected printable letters".to_owned())?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| "it cannot be asked".to_owned())?;
    let response = sender.send_request(request).await.map_err(no_http)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED => {
            return Err("it asks for a token: expected the one of its admin.token".to_owned());
        }
        StatusCode::MISDIRECTED_REQUEST => {
            return Err("it has no token and is asked by a name: expected a number or localhost".to_owned());
        }
        StatusCode::NOT_FOUND => return Err("it has no page /status: expected an admin listener".to_owned()),
        status => return Err(format!("it answered {}", status.as_u16())),
    }
    let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
    let body = body.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            format!("its answer is longer than {} MiB", MOST_BYTES >> 20)
        } else {
            "its answer was cut off".to_owned()
        }
    })?;
    Ok(body.to_bytes())
}

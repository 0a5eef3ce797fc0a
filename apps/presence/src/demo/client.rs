//! The demo's clients: one that stays for its answers, and one that does not.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use logcontext::run_in_background;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::mix::Step;

/// After so long an answer is taken for lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client that keeps its connection.
pub(super) struct Client {
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    /// The status and the whole body.
    pub(super) async fn ask(&mut self, step: &Step, user: &str) -> anyhow::Result<(u16, Bytes)> {
        let answer = async {
            let response = self.send(step, user).await?;
            let status = response.status().as_u16();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        timeout(PATIENCE, answer).await.context("no answer")?
    }

    /// The status and the whole body of any other request.
    #[cfg(unix)]
    pub(super) async fn request(
        &mut self,
        method: &str,
        path: &str,
        user: &str,
        body: Bytes,
    ) -> anyhow::Result<(u16, Bytes)> {
        let answer = async {
            let response = self.send_any(method, path, user, body).await?;
            let status = response.status().as_u16();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        };
        timeout(PATIENCE, answer).await.context("no answer")?
    }

    /// The response as soon as its head is there.
    pub(super) async fn send(&mut self, step: &Step, user: &str) -> anyhow::Result<Response<Incoming>> {
        let body = Bytes::from_static(step.body.unwrap_or_default().as_bytes());
        self.send_any(step.method(), &step.path.replace("{user}", user), user, body).await
    }

    async fn send_any(
        &mut self,
        method: &str,
        path: &str,
        user: &str,
        body: Bytes,
    ) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .header("user-agent", "demo")
            .header("authorization", format!("Bearer {user}"))
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let connection = self.connected().await?;
        Ok(connection.send_request(request).await?)
    }

    async fn connected(&mut self) -> anyhow::Result<&mut SendRequest<Full<Bytes>>> {
        if let Some(connection) = &mut self.connection
            && connection.ready().await.is_err()
        {
            self.connection = None;
        }
        if self.connection.is_none() {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake(TokioIo::new(stream)).await?;
            run_in_background(async {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection lost");
                }
            });
            self.connection = Some(sender);
        }
        self.connection.as_mut().context("no connection")
    }
}

/// When a client leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leave {
    /// With half of the body sent, if there is one.
    MidRequest,
    /// While the service works.
    BeforeAnswer,
    /// With a part of the answer read.
    MidAnswer,
}

impl Leave {
    /// Each in its turn.
    pub(super) fn in_turn(n: usize) -> Self {
        [Self::MidRequest, Self::BeforeAnswer, Self::MidAnswer][n % 3]
    }
}

/// Asks, on a connection of its own, and leaves without the answer.
pub(super) async fn ask_and_leave(
    address: SocketAddr,
    step: &Step,
    user: &str,
    leave: Leave,
) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let body = step.body.unwrap_or_default();
    let sent = match leave {
        Leave::MidRequest => body.len() / 2,
        Leave::BeforeAnswer | Leave::MidAnswer => body.len(),
    };
    let head = format!(
        "{} {} HTTP/1.1\r\nhost: {address}\r\nuser-agent: demo that leaves\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        step.method(),
        step.path.replace("{user}", user),
        body.len(),
        &body[..sent],
    );
    stream.write_all(head.as_bytes()).await?;
    match leave {
        Leave::MidRequest | Leave::BeforeAnswer => sleep(Duration::from_millis(1)).await,
        Leave::MidAnswer => {
            let read = timeout(PATIENCE, stream.read(&mut [0; 16])).await.context("no answer")??;
            if read == 0 {
                bail!("no answer to {} {}", step.method(), step.path);
            }
        }
    }
    Ok(())
}

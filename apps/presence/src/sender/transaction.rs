//! One transaction: what is sent, and what the hub's answer means.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use logcontext_http::ClientLayer;
use tokio::time::timeout;
use tower_layer::Layer;
use tower_service::Service;

use super::client::{AskError, Client};
use super::figures::Outcome;
use super::outgoing::{Outgoing, body};
use super::shared::Shared;
use crate::federation::{HubName, HubSettings, HubUrl};

/// What became of a transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The hub has it, or will never have it: there is no use in trying it again.
    Done,
    /// The hub could not be told. It may have it all the same.
    Failed {
        /// What is known of it, on one line.
        why: String,
        /// The hub has asked for so much time.
        asked: Option<Duration>,
    },
}

/// A hub, as what is sent to it needs it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: HubName,
    url: HubUrl,
    authorization: HeaderValue,
}

impl Peer {
    /// # Errors
    /// If the secret cannot be sent, which the settings' check says as well.
    pub(super) fn new(
        name: &HubName,
        settings: &HubSettings,
    ) -> Result<Self, hyper::header::InvalidHeaderValue> {
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", settings.secret.expose()))?;
        authorization.set_sensitive(true);
        Ok(Self { name: name.clone(), url: settings.url.clone(), authorization })
    }

    /// Sends one transaction, and reads the hub's answer.
    pub(super) async fn send(&self, shared: &Shared, states: &[Arc<Outgoing>]) -> Sent {
        let id = shared.next_transaction();
        let body = body(states.iter().map(|state| &**state));
        // So many at once, whoever they are for. It is never closed.
        let _place = shared.sending.acquire().await;
        let start = Instant::now();
        let answer = match self.request(&id, body) {
            Ok(request) => timeout(shared.timeout, ask(shared, request)).await,
            Err(error) => Ok(Err(error.to_string())),
        };
        let sent = match answer {
            Ok(Ok(answer)) => return self.judge(shared, &id, states.len(), start, &answer),
            Ok(Err(why)) => Sent::Failed { why, asked: None },
            Err(_) => {
                let why = format!("no answer within {} ms", shared.timeout.as_millis());
                Sent::Failed { why, asked: None }
            }
        };
        shared.figures.transaction(Outcome::Failed, states.len(), start.elapsed());
        sent
    }

    fn request(&self, id: &str, body: Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        Request::put(format!("http://{}/_federation/send/{id}", self.url.authority()))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::from(body))
    }

    fn judge(
        &self,
        shared: &Shared,
        id: &str,
        states: usize,
        start: Instant,
        answer: &Response<Bytes>,
    ) -> Sent {
        let (hub, status) = (&self.name, answer.status());
        let (outcome, sent) = match status {
            _ if status.is_success() => {
                tracing::debug!(%hub, txn_id = id, states, "transaction sent");
                (Outcome::Ok, Sent::Done)
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                let status = status.as_u16();
                let answer = excerpt(answer.body());
                tracing::error!(%hub, txn_id = id, status, answer, "transaction refused: it is dropped");
                (Outcome::Dropped, Sent::Done)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let why = format!(
                    "{}: expected the same secret here (presence.federation.hubs.{hub}.secret) and there",
                    status.as_u16()
                );
                (Outcome::Failed, Sent::Failed { why, asked: None })
            }
            _ => {
                let why = format!("answered {}", status.as_u16());
                (Outcome::Failed, Sent::Failed { why, asked: asked(answer.headers()) })
            }
        };
        shared.figures.transaction(outcome, states, start.elapsed());
        sent
    }
}

async fn ask(shared: &Shared, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, String> {
    let mut client = layered(&shared.client);
    client.call(request).await.map_err(|error| error.to_string())
}

/// The trace goes along, and what it has cost the hub comes back, if the hub says so.
fn layered(
    client: &Client,
) -> impl Service<Request<Full<Bytes>>, Response = Response<Bytes>, Error = AskError, Future: Send> + use<> {
    ClientLayer::new().layer(client.clone())
}

/// `retry-after`, in seconds; dates are not read.
fn asked(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The beginning of what a hub says, on one line and without anything that a terminal would obey.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(300)]);
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hub_asks_for_is_read_in_seconds() {
        let of = |text: &str| {
            let headers = [(RETRY_AFTER, HeaderValue::from_str(text).unwrap())].into_iter().collect();
            asked(&headers)
        };
        assert_eq!(of("17"), Some(Duration::from_secs(17)));
        assert_eq!(
            (of("-1"), of("Wed, 21 Oct 2015 07:28:00 GMT"), of("99999999999999999999")),
            (None, None, None)
        );
        assert_eq!(asked(&HeaderMap::new()), None);
    }

    #[test]
    fn what_a_hub_says_is_cut_and_does_nothing_to_a_terminal() {
        assert_eq!(excerpt(b"no\x1b[2J\nway\xff"), "no\u{fffd}[2J\u{fffd}way\u{fffd}");
        assert_eq!(excerpt(&[b'x'; 1_000]).len(), 300);
    }
}

//! What asks other hubs by HTTP.
//!
//! A connection is polled by who asks, while they ask, and by nobody in between: one that is idle costs no task and no
//! timer, and what a transaction costs is on its process's bill.

mod connection;
mod idle;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use tower_service::Service;

pub(super) use connection::AskError;
use connection::Connection;
use idle::Idle;

/// Asks hubs, and keeps some connections for the next time. A tower service, so that layers go around it.
#[derive(Clone, Debug, Default)]
pub(super) struct Client {
    idle: Arc<Idle>,
}

impl Service<Request<Full<Bytes>>> for Client {
    type Response = Response<Bytes>;
    type Error = AskError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Bytes>, AskError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AskError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let idle = Arc::clone(&self.idle);
        Box::pin(async move { ask(&idle, request).await })
    }
}

async fn ask(idle: &Idle, mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, AskError> {
    let authority = request.uri().authority().cloned().ok_or(AskError::NoHost)?;
    let host = HeaderValue::from_str(authority.as_str()).map_err(|_| AskError::NoHost)?;
    request.headers_mut().insert(HOST, host);
    // As the request line has it.
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| AskError::NoHost)?;
    if let Some(kept) = idle.take(authority.as_str()) {
        match kept.ask(request.clone()).await {
            // It was closed meanwhile. Asking the same again on another one does no harm: hubs know it by its id.
            Err(AskError::Lost(_)) => {}
            result => return keep(idle, authority.as_str(), result),
        }
    }
    let connection = Connection::open(&authority).await?;
    keep(idle, authority.as_str(), connection.ask(request).await)
}

fn keep(
    idle: &Idle,
    authority: &str,
    result: Result<(Response<Bytes>, Option<Connection>), AskError>,
) -> Result<Response<Bytes>, AskError> {
    let (response, connection) = result?;
    if let Some(connection) = connection {
        idle.put(authority, connection);
    }
    Ok(response)
}

#[cfg(test)]
mod tests;

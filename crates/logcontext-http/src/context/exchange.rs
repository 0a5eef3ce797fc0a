use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, header};
use http_body::SizeHint;
use logcontext::{ContextKind, Ending, LogContext, current_context};

use crate::access;
use crate::connection::ConnectionInfo;
use crate::context::Config;
use crate::{label, request};

/// One request and its response, from beginning to end: owned by the handler's future, then by the body.
/// Whatever becomes of them, it ends once.
#[derive(Debug)]
pub(crate) struct Exchange {
    context: LogContext,
    connection: LogContext,
    config: Arc<Config>,
    port: Option<u16>,
    quiet: bool,
    is_head: bool,
    labelled: bool,
    response: Option<Response>,
    over: bool,
}

#[derive(Debug)]
struct Response {
    status: StatusCode,
    /// When its headers were there, from the start of the request.
    at: Duration,
    /// Bytes of the body, if known beforehand.
    expected: Option<u64>,
    bytes: u64,
}

/// How an exchange comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of the response was handed to the server.
    Complete,
    /// The service, or its body, answered an error instead.
    Failed,
    /// One of them panicked.
    Panicked,
    /// Nobody wanted the rest.
    Left,
}

impl Exchange {
    pub(crate) fn start<B>(request: &http::Request<B>, config: &Arc<Config>) -> Self {
        let context = request::context(request, &config.supervisor);
        let label = label::of_matched(request.method(), request.extensions());
        let labelled = label.is_some_and(|label| context.set_label(&label));
        let path = request.uri().path();
        let connection = current_context();
        Self {
            context,
            connection: if connection.kind() == ContextKind::Connection {
                connection
            } else {
                LogContext::sentinel()
            },
            port: request.extensions().get::<ConnectionInfo>().map(|info| info.local.port()),
            quiet: request.method() == Method::OPTIONS
                || config.quiet_paths.iter().any(|quiet| **quiet == *path),
            is_head: request.method() == Method::HEAD,
            config: Arc::clone(config),
            labelled,
            response: None,
            over: false,
        }
    }

    pub(crate) fn context(&self) -> &LogContext {
        &self.context
    }

    /// There is a response now.
    pub(crate) fn responds(&mut self, parts: &http::response::Parts, size: &SizeHint) {
        let without_body = self.is_head
            || parts.status.is_informational()
            || parts.status == StatusCode::NO_CONTENT
            || parts.status == StatusCode::NOT_MODIFIED;
        let expected = if without_body {
            Some(0)
        } else {
            size.exact().or_else(|| parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok())
        };
        self.response =
            Some(Response { status: parts.status, at: self.context.elapsed(), expected, bytes: 0 });
    }

    /// So many bytes of the body were handed to the server.
    pub(crate) fn sends(&mut self, bytes: usize) {
        if let Some(response) = &mut self.response {
            response.bytes += bytes as u64;
        }
    }

    /// Ends it: the access line, and the context is finished. The handler and the body must be gone by now.
    pub(crate) fn end(&mut self, end: End) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        if !self.labelled && self.context.label().is_none() {
            let method = self.context.request().map_or("", |request| request.method());
            self.context.set_label(&label::label(method, label::UNMATCHED));
        }
        let ending = self.ending(end);
        access::log(&access::Facts {
            context: &self.context,
            connection: &self.connection,
            tag: self.config.listener_tag.as_deref(),
            port: self.port,
            quiet: self.quiet,
            status: self.response.as_ref().map(|response| response.status),
            headers_at: self.response.as_ref().map(|response| response.at),
            bytes: self.response.as_ref().map_or(0, |response| response.bytes),
            complete: end == End::Complete,
            ending,
        });
        self.context.finish_as(ending);
    }

    fn ending(&self, end: End) -> Ending {
        let failed = self.response.as_ref().is_some_and(|response| response.status.is_server_error());
        match end {
            End::Panicked => Ending::Panicked,
            End::Failed => Ending::Failed,
            End::Complete | End::Left if failed => Ending::Failed,
            End::Complete => Ending::Ok,
            End::Left => Ending::Cancelled,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A server that has got all bytes it expects, or expects none, does not ask for the end of the body.
        let sent_all =
            |response: &Response| response.expected.is_some_and(|expected| response.bytes >= expected);
        let complete = self.response.as_ref().is_some_and(sent_all);
        self.end(if complete { End::Complete } else { End::Left });
    }
}

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, header};
use http_body::SizeHint;
use logcontext::{ContextKind, Ending, LogContext, Panic, current_context};

use crate::access;
use crate::connection::ConnectionInfo;
use crate::context::{Config, headers};
use crate::{label, request};

/// One request and its response, from beginning to end: owned by the handler's future, then by the body.
/// Whatever becomes of them, it ends once.
#[derive(Debug)]
pub(crate) struct Exchange {
    context: LogContext,
    connection: LogContext,
    config: Arc<Config>,
    info: Option<ConnectionInfo>,
    quiet: bool,
    is_head: bool,
    labelled: bool,
    shows_timing: bool,
    panicked: bool,
    response: Option<Response>,
    /// How it has ended, once the access line has told it.
    told: Option<Ending>,
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
    /// Nobody is there to get it: the client has left while it was sending its request. The handler, whom the
    /// server tells of that as an error in the request's body, answers all the same.
    to_nobody: bool,
}

/// How an exchange comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// All of the response was handed to the server.
    Complete,
    /// The service, or its body, answered an error instead.
    Failed,
    /// Nobody wanted the rest.
    Left,
}

impl Exchange {
    pub(crate) fn start<B>(request: &http::Request<B>, config: &Arc<Config>) -> Self {
        let context = request::context(request, config);
        let labelled = label::set_matched(&context, request.method(), request.extensions());
        let path = request.uri().path();
        let connection = current_context();
        let info = request.extensions().get::<ConnectionInfo>();
        Self {
            context,
            connection: if connection.kind() == ContextKind::Connection {
                connection
            } else {
                LogContext::sentinel()
            },
            info: info.cloned(),
            quiet: request.method() == Method::OPTIONS
                || config.quiet_paths.iter().any(|quiet| **quiet == *path),
            is_head: request.method() == Method::HEAD,
            config: Arc::clone(config),
            labelled,
            shows_timing: false,
            panicked: false,
            response: None,
            told: None,
            over: false,
        }
    }

    pub(crate) fn context(&self) -> &LogContext {
        &self.context
    }

    /// The request on its way to the service: whoever asks may have to be looked at.
    #[inline]
    pub(crate) fn receives<B>(&mut self, request: &mut Option<http::Request<B>>) {
        if self.config.server_timing.is_some() {
            self.looks_at(request);
        }
    }

    #[cold]
    fn looks_at<B>(&mut self, request: &mut Option<http::Request<B>>) {
        if let Some(may_see) = &self.config.server_timing
            && let Some(given) = request.take()
        {
            let (parts, body) = given.into_parts();
            self.shows_timing = may_see(&parts);
            *request = Some(http::Request::from_parts(parts, body));
        }
    }

    /// The handler, or the body, panicked: reported here, unless a panic hook has done so.
    pub(crate) fn panicked(&mut self, panic: &mut Panic) {
        self.panicked = true;
        self.context.scope(|| panic.report());
    }

    /// There is a response now.
    pub(crate) fn responds(&mut self, parts: &mut http::response::Parts, size: &SizeHint) {
        let without_body = self.is_head
            || parts.status.is_informational()
            || parts.status == StatusCode::NO_CONTENT
            || parts.status == StatusCode::NOT_MODIFIED;
        let expected = if without_body {
            Some(0)
        } else {
            size.exact().or_else(|| parts.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok())
        };
        self.context.set_status(parts.status.as_u16());
        let at = self.context.elapsed();
        headers::add(&mut parts.headers, &self.config, &self.context);
        if self.shows_timing {
            headers::add_timing(&mut parts.headers, &self.context, at);
        }
        let to_nobody = self.info.as_ref().is_some_and(ConnectionInfo::is_closed_by_client);
        self.response = Some(Response { status: parts.status, at, expected, bytes: 0, to_nobody });
    }

    /// So many bytes of the body were handed to the server.
    pub(crate) fn sends(&mut self, bytes: usize) {
        if let Some(response) = &mut self.response {
            response.bytes += bytes as u64;
        }
    }

    /// Tells how it ends, in the access line; what follows is but to leave the context and to [end](Self::end). The
    /// handler and the body must be gone by now. For who is still in the context: otherwise it is entered for the line.
    pub(crate) fn tell(&mut self, end: End) {
        if self.told.is_some() {
            return;
        }
        let to_nobody = self.response.as_ref().is_some_and(|response| response.to_nobody);
        let end = if to_nobody && end == End::Complete { End::Left } else { end };
        let ending = self.ending(end);
        self.told = Some(ending);
        if !self.labelled && self.context.label().is_none() {
            let method = self.context.request().map_or("", |request| request.method());
            label::set(&self.context, method, label::UNMATCHED);
        }
        access::log(&access::Facts {
            context: &self.context,
            connection: &self.connection,
            tag: self.config.listener_tag.as_deref(),
            info: self.info.as_ref(),
            quiet: self.quiet,
            status: self.response.as_ref().map(|response| response.status),
            headers_at: self.response.as_ref().map(|response| response.at),
            bytes: self.response.as_ref().map_or(0, |response| response.bytes),
            complete: end == End::Complete,
            ending,
        });
    }

    /// Ends it: the access line, if it has not been told, and the context is finished. The handler and the body must be
    /// gone by now.
    pub(crate) fn end(&mut self, end: End) {
        self.tell(end);
        if !std::mem::replace(&mut self.over, true)
            && let Some(ending) = self.told
        {
            self.context.finish_as(ending);
        }
    }

    fn ending(&self, end: End) -> Ending {
        let failed = self.response.as_ref().is_some_and(|response| response.status.is_server_error());
        match end {
            _ if self.panicked => Ending::Panicked,
            End::Failed => Ending::Failed,
            End::Complete | End::Left if failed => Ending::Failed,
            End::Complete => Ending::Ok,
            End::Left => Ending::Cancelled,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        // The handler's, when it was dropped.
        self.panicked |= std::thread::panicking();
        // A server that has got all bytes it expects, or expects none, does not ask for the end of the body.
        let sent_all =
            |response: &Response| response.expected.is_some_and(|expected| response.bytes >= expected);
        let complete = self.response.as_ref().is_some_and(sent_all);
        self.end(if complete { End::Complete } else { End::Left });
    }
}

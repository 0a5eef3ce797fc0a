//! The request as its context knows it: what the client sent, cut to a length that logs can bear.

mod headers;
mod id;
mod trace;

use std::borrow::Cow;

use http::{Method, Uri, Version};
use logcontext::{
    ContextKind, LogContext, Panic, Request, RequestParts, SmallStr, catch_panic, current_context,
};

use crate::connection::ConnectionInfo;
use crate::context::Config;
use headers::Headers;
use id::Received;

pub(crate) use trace::{TRACEPARENT, TRACESTATE};

const METHOD: usize = 24;
const PATH: usize = 1_024;
const USER_AGENT: usize = 256;

/// Says who makes the current request, once that is known: the access line shows it, and every log line of the
/// request from then on. Answers whether this was the first to say so; false outside any request.
///
/// ```
/// use logcontext::{LogContext, Request};
/// use logcontext_http::set_user;
///
/// let request = LogContext::builder("GET-17").request(Request::new("GET", "/presence/alice")).start();
/// request.scope(|| {
///     assert!(set_user("@alice"));
///     assert!(!set_user("@mallory"));
/// });
/// assert_eq!(request.request().unwrap().user(), Some("@alice"));
/// assert!(!set_user("@alice"));
/// ```
pub fn set_user(user: impl Into<Box<str>>) -> bool {
    current_context().request().is_some_and(|request| request.set_user(user))
}

/// A context for this request, named after its method: `GET-17`.
pub(crate) fn context<B>(request: &http::Request<B>, config: &Config) -> LogContext {
    let method = method(request.method());
    let mut number = itoa::Buffer::new();
    let name = SmallStr::joined(&method, number.format(config.supervisor.next_request()));
    // As an id: but for methods that clients make up.
    let name_will_do = matches!(method, Cow::Borrowed(_)) || id::is_valid(&name);
    let headers = Headers::of(request.headers(), config.request_id.as_ref());
    let span = trace::span(&headers, config.traces);
    let received = id::received(&headers.request_id);
    let id: Option<Box<str>> = match received {
        Received::Id(id) => Some(id.into()),
        _ if config.request_id.is_none() || name_will_do => None,
        Received::Nothing | Received::Refused(_) => Some(span.trace_id().into()),
    };
    let (path, panic) = path(request.uri(), config);
    let connection = request.extensions().get::<ConnectionInfo>();
    let agent = headers.user_agent.first.map(|agent| cut(&text(agent.as_bytes()), USER_AGENT).into());
    let described = Request::from(RequestParts {
        method,
        path: cut(path.as_ref(), PATH).into(),
        id,
        client: connection.map(ConnectionInfo::client),
        protocol: Some(protocol(request.version()).into()),
        user_agent: agent,
        trace_context: Some(span),
    });
    let context = config.supervisor.context(name).kind(ContextKind::Request).request(described).start();
    if let (Received::Refused(value), Some(name)) = (received, &config.request_id) {
        context.scope(|| id::note_refused(name, value));
    }
    if let Some(mut panic) = panic {
        context.scope(|| panic.report());
    }
    context
}

/// The path as it may be logged; with the panic of the hook that was to say so.
fn path<'a>(uri: &'a Uri, config: &Config) -> (Cow<'a, str>, Option<Panic>) {
    match &config.redact {
        // Without its query: that is where secrets are.
        None => (Cow::Borrowed(uri.path()), None),
        Some(redact) => match catch_panic(|| redact(uri.path(), uri.query())) {
            Ok(path) => (path, None),
            // Nobody has said what of it may be shown.
            Err(panic) => (Cow::Borrowed(""), Some(panic)),
        },
    }
}

/// Nearly all are known, and need no memory of their own.
fn method(method: &Method) -> Cow<'static, str> {
    let known = match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => return cut(method.as_str(), METHOD).into_owned().into(),
    };
    known.into()
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "HTTP/0.9",
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP",
    }
}

/// Nearly always it is text.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// At most so many bytes of it; where something is left out, that shows.
fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    const MARK: char = '…';
    if text.len() <= limit {
        return text.into();
    }
    let mut end = limit - MARK.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use logcontext::Supervisor;

    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("short", 8), "short");
        assert_eq!(cut("exactly8", 8), "exactly8");
        assert_eq!(cut("a bit longer", 8), "a bit…");
        assert_eq!(cut("äöüäöüäöü", 8), "äö…");
    }

    #[test]
    fn an_overlong_method_makes_a_short_name() {
        let config = Config { supervisor: Supervisor::new("test"), ..Config::new() };
        let method = "M".repeat(5_000);
        let request = http::Request::builder().method(&*method).body(()).unwrap();
        let context = context(&request, &config);
        assert!(context.name().len() < 40, "{context}");
        assert!(context.name().ends_with("…-1"), "{context}");
    }

    #[test]
    fn a_context_knows_what_the_client_sent_but_not_the_query() {
        let config = Config { supervisor: Supervisor::new("test"), ..Config::new() };
        let request = http::Request::put("/presence/alice?access_token=secret")
            .header(http::header::USER_AGENT, http::HeaderValue::from_bytes(b"curl/8 \xff").unwrap())
            .extension(ConnectionInfo::new(
                "[::ffff:192.0.2.7]:1".parse().unwrap(),
                "[::1]:8008".parse().unwrap(),
            ))
            .body(())
            .unwrap();
        let context = context(&request, &config);
        assert_eq!(context.name(), "PUT-1");
        assert_eq!(context.kind(), ContextKind::Request);
        let request = context.request().unwrap();
        assert_eq!((request.method(), request.path()), ("PUT", "/presence/alice"));
        assert_eq!(request.protocol_version(), Some("HTTP/1.1"));
        assert_eq!(request.client_address(), Some("192.0.2.7"));
        assert_eq!(request.agent(), Some("curl/8 \u{fffd}"));
    }
}

//! The request as its context knows it: what the client sent, cut to a length that logs can bear.

use std::borrow::Cow;
use std::fmt::Write;

use http::{Version, header};
use logcontext::{ContextKind, LogContext, Request, Supervisor, current_context};

use crate::connection::ConnectionInfo;

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
pub(crate) fn context<B>(request: &http::Request<B>, supervisor: &Supervisor) -> LogContext {
    let method = cut(request.method().as_str(), METHOD);
    let mut name = String::with_capacity(method.len() + 8);
    let _ = write!(name, "{method}-{}", supervisor.next_request());
    supervisor.context(name).kind(ContextKind::Request).request(describe(request, &method)).start()
}

fn describe<B>(request: &http::Request<B>, method: &str) -> Request {
    // Without its query: that is where secrets are.
    let mut described =
        Request::new(method, cut(request.uri().path(), PATH)).protocol(protocol(request.version()));
    if let Some(connection) = request.extensions().get::<ConnectionInfo>() {
        described = described.client(connection.client());
    }
    if let Some(agent) = request.headers().get(header::USER_AGENT) {
        described = described.user_agent(cut(&String::from_utf8_lossy(agent.as_bytes()), USER_AGENT));
    }
    described
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
        let supervisor = Supervisor::new("test");
        let method = "M".repeat(5_000);
        let request = http::Request::builder().method(&*method).body(()).unwrap();
        let context = context(&request, &supervisor);
        assert!(context.name().len() < 40, "{context}");
        assert!(context.name().ends_with("…-1"), "{context}");
    }

    #[test]
    fn a_context_knows_what_the_client_sent_but_not_the_query() {
        let supervisor = Supervisor::new("test");
        let request = http::Request::put("/presence/alice?access_token=secret")
            .header(header::USER_AGENT, http::HeaderValue::from_bytes(b"curl/8 \xff").unwrap())
            .extension(ConnectionInfo::new(
                "[::ffff:192.0.2.7]:1".parse().unwrap(),
                "[::1]:8008".parse().unwrap(),
            ))
            .body(())
            .unwrap();
        let context = context(&request, &supervisor);
        assert_eq!(context.name(), "PUT-1");
        assert_eq!(context.kind(), ContextKind::Request);
        let request = context.request().unwrap();
        assert_eq!((request.method(), request.path()), ("PUT", "/presence/alice"));
        assert_eq!(request.protocol_version(), Some("HTTP/1.1"));
        assert_eq!(request.client_address(), Some("192.0.2.7"));
        assert_eq!(request.agent(), Some("curl/8 \u{fffd}"));
    }
}

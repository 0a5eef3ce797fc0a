//! Who may ask: those who know the token, if there is one; and no web page that a browser on this machine shows.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use logcontext_http::ConnectionInfo;

use crate::config::Secret;

pub(super) async fn check(
    State(token): State<Option<Arc<Secret>>>,
    request: Request,
    next: Next,
) -> Response {
    match token {
        Some(token) if !knows(request.headers(), token.expose()) => {
            let challenge = HeaderValue::from_static("Bearer");
            let expected =
                "expected the header `authorization: Bearer <token>` with the token of this server\n";
            (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], expected).into_response()
        }
        None if !is_from_a_socket(&request) && !is_meant(request.headers()) => {
            let expected = "expected a numeric address or localhost in the host header\n";
            (StatusCode::MISDIRECTED_REQUEST, expected).into_response()
        }
        _ => next.run(request).await,
    }
}

fn knows(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let given = given.and_then(|given| given.split_at_checked(BEARER.len()));
    given.is_some_and(|(scheme, given)| {
        scheme.eq_ignore_ascii_case(BEARER) && is_same(given.trim_ascii(), token.as_bytes())
    })
}

const BEARER: &[u8] = b"Bearer ";

/// In a time that does not tell how much of it was right.
fn is_same(given: &[u8], token: &[u8]) -> bool {
    let differ = given.iter().zip(token).fold(0, |differ, (a, b)| differ | (a ^ b));
    given.len() == token.len() && std::hint::black_box(differ) == 0
}

/// To which no page leads.
fn is_from_a_socket(request: &Request) -> bool {
    request.extensions().get::<ConnectionInfo>().is_some_and(ConnectionInfo::is_unix)
}

/// A page from elsewhere can make a browser ask any name that leads to this machine, and read the answer; but it
/// cannot make it ask by a number, or as `localhost`, and read that.
fn is_meant(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let number = name.trim_start_matches('[').trim_end_matches(']');
    name.is_empty() || name.eq_ignore_ascii_case("localhost") || number.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn only_the_whole_token_will_do() {
        let knows = |value: &str| knows(&with(header::AUTHORIZATION, value), "s3cret");
        assert!(knows("Bearer s3cret") && knows("bearer  s3cret "));
        for wrong in ["", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3crets", "s3cret", "Basic s3cret"] {
            assert!(!knows(wrong), "{wrong}");
        }
        assert!(!super::knows(&HeaderMap::new(), "s3cret"));
    }

    #[test]
    fn names_that_strangers_may_own_are_refused() {
        let is_meant = |host: &str| is_meant(&with(header::HOST, host));
        for host in ["127.0.0.1:9009", "127.0.0.1", "[::1]:9009", "[::1]", "localhost:1", "LOCALHOST", ""] {
            assert!(is_meant(host), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9009", "127.0.0.1.evil.example", "localhost.evil.example:1"]
        {
            assert!(!is_meant(host), "{host}");
        }
        assert!(super::is_meant(&HeaderMap::new()), "of a client that is older than HTTP/1.1");
    }
}

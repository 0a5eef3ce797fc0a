//! The request's id, from a header that the service trusts.

use http::{HeaderName, HeaderValue};

use super::headers::Values;
use crate::access::Escaped;

const LONGEST: usize = 64;

/// What came in that header.
pub(super) enum Received<'a> {
    Nothing,
    Id(&'a str),
    Refused(&'a HeaderValue),
}

pub(super) fn received<'a>(header: &Values<'a>) -> Received<'a> {
    let Some(value) = header.first else { return Received::Nothing };
    match value.to_str() {
        // Of several, nobody knows who sent which.
        Ok(id) if is_valid(id) && !header.several => Received::Id(id),
        _ => Received::Refused(value),
    }
}

pub(super) fn is_valid(id: &str) -> bool {
    let may_be = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(may_be)
}

/// In the request's context.
pub(super) fn note_refused(name: &HeaderName, value: &HeaderValue) {
    let text = String::from_utf8_lossy(value.as_bytes());
    let given = super::cut(&text, LONGEST);
    tracing::info!(
        target: "logcontext::http",
        header = name.as_str(),
        given = %Escaped::or_dash(Some(&given), b'"'),
        length = value.len(),
        "request id replaced: expected one, of at most 64 of A-Z a-z 0-9 . _ -",
    );
}

//! The trace that a request belongs to: what its headers say, or a new one.

use std::borrow::Cow;

use http::{HeaderName, HeaderValue};
use logcontext::TraceContext;

use super::headers::Headers;
use crate::context::Traces;

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The request's own span in its trace.
pub(super) fn span(headers: &Headers<'_>, traces: Traces) -> TraceContext {
    if !traces.restart
        && let Some(caller) = caller(headers)
    {
        return caller.child();
    }
    TraceContext::random().sampled(traces.sample_new)
}

fn caller(headers: &Headers<'_>) -> Option<TraceContext> {
    let caller = TraceContext::parse(ascii(headers.traceparent.first?)?).ok()?;
    // Of several, nobody knows which one is right.
    if headers.traceparent.several {
        return None;
    }
    Some(match state(headers) {
        Some(state) => caller.with_state(&state),
        None => caller,
    })
}

/// One list, in however many headers it came.
fn state<'a>(headers: &Headers<'a>) -> Option<Cow<'a, str>> {
    let mut state = Cow::Borrowed(ascii(headers.tracestate.first?)?);
    if headers.tracestate.several {
        for value in headers.all.get_all(&TRACESTATE).iter().skip(1) {
            let state = state.to_mut();
            state.push(',');
            state.push_str(ascii(value)?);
        }
    }
    Some(state)
}

/// What `HeaderValue::to_str` answers, which looks at one byte after the other. A value has no control characters.
fn ascii(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_text_where_its_own_method_says_so() {
        for byte in 0..=255 {
            for text in [&[byte][..], &[b'a', byte], &[0xc3, byte], &[byte, 0xa4]] {
                if let Ok(value) = HeaderValue::from_bytes(text) {
                    assert_eq!(ascii(&value), value.to_str().ok(), "{text:?}");
                }
            }
        }
    }
}

//! The trace that a request belongs to: what its headers say, or a new one.

use std::borrow::Cow;

use http::HeaderName;
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
    let caller = TraceContext::parse(headers.traceparent.first?.to_str().ok()?).ok()?;
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
    let mut state = Cow::Borrowed(headers.tracestate.first?.to_str().ok()?);
    if headers.tracestate.several {
        for value in headers.all.get_all(&TRACESTATE).iter().skip(1) {
            let state = state.to_mut();
            state.push(',');
            state.push_str(value.to_str().ok()?);
        }
    }
    Some(state)
}

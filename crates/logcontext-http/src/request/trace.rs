//! The trace that a request belongs to: what its headers say, or a new one.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName};
use logcontext::TraceContext;

use crate::context::Traces;

pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The request's own span in its trace.
pub(super) fn span(headers: &HeaderMap, traces: Traces) -> TraceContext {
    if !traces.restart
        && let Some(caller) = caller(headers)
    {
        return caller.child();
    }
    TraceContext::random().sampled(traces.sample_new)
}

fn caller(headers: &HeaderMap) -> Option<TraceContext> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    let caller = TraceContext::parse(values.next()?.to_str().ok()?).ok()?;
    // Of several, nobody knows which one is right.
    if values.next().is_some() {
        return None;
    }
    Some(match state(headers) {
        Some(state) => caller.with_state(&state),
        None => caller,
    })
}

/// One list, in however many headers it came.
fn state(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut values = headers.get_all(&TRACESTATE).iter();
    let mut state = Cow::Borrowed(values.next()?.to_str().ok()?);
    for value in values {
        let state = state.to_mut();
        state.push(',');
        state.push_str(value.to_str().ok()?);
    }
    Some(state)
}

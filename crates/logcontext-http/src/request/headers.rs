//! The headers that a context is made of.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{TRACEPARENT, TRACESTATE};

/// Found in one walk along all of them: to look each one up takes longer, for a map of headers hashes their names
/// byte by byte.
pub(super) struct Headers<'a> {
    pub(super) all: &'a HeaderMap,
    pub(super) traceparent: Values<'a>,
    pub(super) tracestate: Values<'a>,
    pub(super) request_id: Values<'a>,
    pub(super) user_agent: Values<'a>,
}

/// What came under one name.
#[derive(Default)]
pub(super) struct Values<'a> {
    pub(super) first: Option<&'a HeaderValue>,
    pub(super) several: bool,
}

impl<'a> Headers<'a> {
    pub(super) fn of(all: &'a HeaderMap, request_id: Option<&HeaderName>) -> Self {
        let [mut traceparent, mut tracestate, mut id, mut user_agent] = <[Values<'a>; 4]>::default();
        for (name, value) in all {
            if *name == header::USER_AGENT {
                user_agent.add(value);
            } else if *name == TRACEPARENT {
                traceparent.add(value);
            } else if *name == TRACESTATE {
                tracestate.add(value);
            }
            // Whatever it is called: it may be one of those above.
            if Some(name) == request_id {
                id.add(value);
            }
        }
        Self { all, traceparent, tracestate, request_id: id, user_agent }
    }
}

impl<'a> Values<'a> {
    fn add(&mut self, value: &'a HeaderValue) {
        self.several = self.first.is_some();
        self.first.get_or_insert(value);
    }
}

//! The heads of messages.

use logcontext::{LogContext, Request, TraceContext};
use serde::{Deserialize, Serialize};

use super::call_head::shown;

/// The version of the heads themselves.
pub(crate) const WIRE: u32 = 1;

/// Whose message it is: the context it was sent from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    /// The bus that sent it: its service and instance.
    pub(crate) sender: Box<str>,
    /// The name of the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<Box<str>>,
    /// The id to find its request by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tracestate: Option<Box<str>>,
}

impl Origin {
    /// Of what the context sends.
    pub(crate) fn of(context: &LogContext, sender: &str) -> Self {
        let span = context.request().and_then(Request::span).map(TraceContext::child);
        Self {
            sender: sender.into(),
            context: (!context.is_sentinel()).then(|| context.name().into()),
            request: context.request_id().map(Into::into),
            traceparent: span.as_ref().map(|span| span.to_string().into()),
            tracestate: span.as_ref().and_then(TraceContext::state).map(Into::into),
        }
    }

    /// The name of the context that sent it, as it may be logged; of the bus, if there was none.
    pub(crate) fn starter(&self) -> Box<str> {
        self.as_ref().starter()
    }

    /// The request that its handler works for, so that all that one request has led to is found by its id.
    pub(crate) fn request(&self, method: &'static str, name: &str) -> Request {
        self.as_ref().request(method, name, shown(&self.sender).into())
    }
}

/// What may be shown of a text from outside.
pub(crate) fn printable(text: &str) -> Box<str> {
    shown(text).into()
}

/// Of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EventHead {
    pub(crate) wire: u32,
    pub(crate) event: Box<str>,
    pub(crate) version: u32,
    /// Tells it from all others: the same if it is sent again.
    pub(crate) id: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Box<str>>,
    #[serde(rename = "from")]
    pub(crate) origin: Origin,
}

/// Of a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallHead {
    pub(crate) wire: u32,
    pub(crate) rpc: Box<str>,
    pub(crate) version: u32,
    /// So many handlers wait for it, each for the next.
    pub(crate) depth: u8,
    /// So long its caller waits from when it was sent, in milliseconds.
    pub(crate) timeout_ms: u64,
    #[serde(rename = "from")]
    pub(crate) origin: Origin,
}

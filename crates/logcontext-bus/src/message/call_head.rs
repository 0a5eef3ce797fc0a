//! The heads of calls, written and read at each of them: without a detour through values, where they are as we write
//! them; the way of [`CallHead`] otherwise.

use std::borrow::Cow;

use logcontext::{LogContext, Request, TraceContext};

use super::decode;
use super::head::{CallHead, Origin, WIRE};
use super::plain::{field, number, take_field, take_number, take_text};

/// What the heads of all calls of one RPC begin with: its name and version.
#[derive(Debug)]
pub(crate) struct HeadPrefix(Box<str>);

/// Longer than this a head hardly gets.
const USUAL: usize = 256;

impl HeadPrefix {
    /// Of a name that is one.
    pub(crate) fn new(rpc: &str, version: u32) -> Self {
        Self(format!(r#"{{"wire":{WIRE},"rpc":"{rpc}","version":{version},"depth":"#).into())
    }

    /// Writes the head of a call from this context, behind what is there. The sender's name is a plain one.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        context: &LogContext,
        depth: u8,
        timeout_ms: u64,
        sender: &str,
    ) {
        out.reserve(USUAL);
        out.extend_from_slice(self.0.as_bytes());
        number(out, depth.into());
        out.extend_from_slice(br#","timeout_ms":"#);
        number(out, timeout_ms);
        out.extend_from_slice(br#","from":{"sender":""#);
        out.extend_from_slice(sender.as_bytes());
        out.push(b'"');
        if !context.is_sentinel() {
            field(out, r#","context":"#, context.name());
        }
        if let Some(id) = context.request_id() {
            field(out, r#","request":"#, id);
        }
        if let Some(span) = context.request().and_then(Request::span).map(TraceContext::child) {
            field(out, r#","traceparent":"#, &span.to_string());
            if let Some(state) = span.state() {
                field(out, r#","tracestate":"#, state);
            }
        }
        out.extend_from_slice(b"}}");
    }

    /// Reads what [`write`](Self::write) has written. `None` of anything else.
    fn read<'a>(&self, head: &'a [u8]) -> Option<CallFrom<'a>> {
        let rest = std::str::from_utf8(head).ok()?.strip_prefix(&*self.0)?;
        let (depth, rest) = take_number(rest)?;
        let (timeout_ms, rest) = take_number(rest.strip_prefix(r#","timeout_ms":"#)?)?;
        let (sender, rest) = take_text(rest.strip_prefix(r#","from":{"sender":"#)?)?;
        let (context, rest) = take_field(rest, r#","context":"#)?;
        let (request, rest) = take_field(rest, r#","request":"#)?;
        let (traceparent, rest) = take_field(rest, r#","traceparent":"#)?;
        let (tracestate, rest) = take_field(rest, r#","tracestate":"#)?;
        let depth = u8::try_from(depth).ok()?;
        let origin = OriginRef { sender, context, request, traceparent, tracestate };
        (rest == "}}").then_some(CallFrom { depth, timeout_ms, origin })
    }
}

/// What a head says of a call that is one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallFrom<'a> {
    pub(crate) depth: u8,
    pub(crate) timeout_ms: u64,
    pub(crate) origin: OriginRef<'a>,
}

/// The same as [`Origin`], of texts that are elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OriginRef<'a> {
    pub(crate) sender: &'a str,
    pub(crate) context: Option<&'a str>,
    pub(crate) request: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) tracestate: Option<&'a str>,
}

impl Origin {
    pub(crate) fn as_ref(&self) -> OriginRef<'_> {
        OriginRef {
            sender: &self.sender,
            context: self.context.as_deref(),
            request: self.request.as_deref(),
            traceparent: self.traceparent.as_deref(),
            tracestate: self.tracestate.as_deref(),
        }
    }
}

/// A head that was read, in either way.
#[derive(Debug)]
pub(crate) enum AnyHead<'a> {
    /// It is a call of this RPC in this version.
    Ours(CallFrom<'a>),
    /// It is of anything.
    Other(Box<CallHead>),
}

impl<'a> AnyHead<'a> {
    /// # Errors
    /// If it is none: which field, and what was expected.
    pub(crate) fn read(head: &'a [u8], expected: &HeadPrefix) -> Result<Self, String> {
        match expected.read(head) {
            Some(ours) => Ok(Self::Ours(ours)),
            None => decode(head).map(Self::Other),
        }
    }

    pub(crate) fn from(&self) -> CallFrom<'_> {
        match self {
            Self::Ours(from) => *from,
            Self::Other(head) => {
                CallFrom { depth: head.depth, timeout_ms: head.timeout_ms, origin: head.origin.as_ref() }
            }
        }
    }
}

impl OriginRef<'_> {
    /// The name of the context that sent it, as it may be logged; of the bus, if there was none.
    pub(crate) fn starter(&self) -> Box<str> {
        shown(self.context.unwrap_or(self.sender)).into()
    }

    /// The request that its handler works for, so that all that one request has led to is found by its id.
    pub(crate) fn request(&self, method: &'static str, name: &str, client: std::sync::Arc<str>) -> Request {
        let request = Request::new(method, name).client(client);
        let request = match self.request {
            Some(id) => request.id(shown(id)),
            None => request,
        };
        let Some(trace) = self.traceparent.and_then(|text| TraceContext::parse(text).ok()) else {
            return request;
        };
        request.trace_context(match self.tracestate {
            Some(state) => trace.with_state(state),
            None => trace,
        })
    }
}

/// Longest texts that are taken over from a message into contexts and logs.
const LONGEST: usize = 200;

/// What may be shown of a text from outside.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    let is_fine = text.len() <= LONGEST
        && (text.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) || !text.chars().any(char::is_control));
    if is_fine {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    Cow::Owned(shown.take(LONGEST).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::encode;

    const SENDER: &str = "presence/0123456789abcdef";

    fn both(context: &LogContext, depth: u8, timeout_ms: u64) -> (Vec<u8>, CallHead) {
        let mut written = b"body".to_vec();
        HeadPrefix::new("test.rpc", 3).write(&mut written, context, depth, timeout_ms, SENDER);
        assert!(written.starts_with(b"body"));
        let head = CallHead {
            wire: WIRE,
            rpc: "test.rpc".into(),
            version: 3,
            depth,
            timeout_ms,
            origin: Origin::of(context, SENDER),
        };
        (written.split_off(4), head)
    }

    /// They are the same but for the span, which is a new one for each.
    fn without_span(mut head: CallHead) -> CallHead {
        head.origin.traceparent = head.origin.traceparent.map(|text| text[..35].into());
        head
    }

    proptest! {
        #[test]
        fn a_head_is_written_as_its_value_would_be_and_read_as_that(
            name in ".{1,40}",
            id in proptest::option::of("[ -~]{0,30}|.{0,30}"),
            (is_traced, has_state) in any::<(bool, bool)>(),
            (depth, timeout_ms) in any::<(u8, u64)>(),
        ) {
            let trace = TraceContext::random();
            let trace = if has_state { trace.with_state("a=1,b=\"2") } else { trace };
            let request = Request::new("GET", "/");
            let request = if let Some(id) = &id { request.id(&**id) } else { request };
            let request = if is_traced { request.trace_context(trace) } else { request };
            let context = LogContext::builder(name).request(request).start();
            let (written, head) = both(&context, depth, timeout_ms);
            let read: CallHead = decode(&written).unwrap();
            prop_assert_eq!(without_span(read.clone()), without_span(head));
            prop_assert_eq!(&written, &encode(&read).unwrap());
            let prefix = HeadPrefix::new("test.rpc", 3);
            let any = AnyHead::read(&written, &prefix).unwrap();
            let other = AnyHead::Other(Box::new(read));
            prop_assert_eq!(any.from(), other.from());
        }

        #[test]
        fn what_is_read_in_the_short_way_is_read_so_in_the_long_one(
            at in 0..200_usize, bytes in "[0-9,:\\\\\"{}a-f \n]{0,3}", removed in 0..3_usize,
        ) {
            let context = LogContext::builder("GET-17").request(Request::new("GET", "/").id("r")).start();
            let (mut written, _) = both(&context, 1, 5_000);
            let at = at.min(written.len());
            let end = (at + removed).min(written.len());
            written.splice(at..end, bytes.bytes());
            let prefix = HeadPrefix::new("test.rpc", 3);
            if let Some(ours) = prefix.read(&written) {
                let head: CallHead = decode(&written).unwrap();
                prop_assert_eq!((head.wire, &*head.rpc, head.version), (WIRE, "test.rpc", 3));
                let other = AnyHead::Other(Box::new(head));
                prop_assert_eq!(ours, other.from());
            }
        }
    }

    #[test]
    fn what_we_write_is_read_in_the_short_way() {
        for context in [LogContext::sentinel(), LogContext::new("GET-17")] {
            let (written, _) = both(&context, 0, 5_000);
            let prefix = HeadPrefix::new("test.rpc", 3);
            let read = prefix.read(&written).expect("the short way");
            assert_eq!((read.depth, read.timeout_ms, read.origin.sender), (0, 5_000, SENDER));
            assert!(HeadPrefix::new("test.rpc", 4).read(&written).is_none());
        }
    }

    #[test]
    fn nothing_is_shown_that_does_harm_to_a_log() {
        assert_eq!(shown("grüße"), "grüße");
        assert_eq!(shown("a\nb\u{9b}"), "a\u{fffd}b\u{fffd}");
        assert_eq!(shown(&"x".repeat(300)).len(), 200);
    }
}

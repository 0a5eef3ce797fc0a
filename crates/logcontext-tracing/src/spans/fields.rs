//! What the fields of spans say: OpenTelemetry's names, old and new, and those that tower-http, axum's examples and
//! other people's spans have.

use std::fmt;

use tracing::Metadata;
use tracing::field::{Field, Visit};

use super::config::Config;
use crate::line;

/// A span may ask to be entered inside other contexts as well.
pub(super) const ENTER: &str = "logcontext.enter";

/// Longest text that is taken from a field, in bytes.
const LIMIT: usize = 1_024;

/// What a field says of the context that a root span becomes. Where several say the same, the first one counts.
///
/// Route, label, user and outcome count as well when they are [recorded](tracing::Span::record) later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SpanField {
    /// The request's method: `http.request.method`, `http.method`, `method`. A span without one stands for no
    /// request, and nor does one whose `otel.kind` is something else than `server` or `consumer`.
    Method,
    /// Its path, of which the query is left out: `url.path`, `http.target`, `uri`, `http.uri`, `path`, `url.full`,
    /// `http.url`. It is never part of a label.
    Path,
    /// The route that it matched: `http.route`, `matched_path`, `route`. The label is method and route.
    Route,
    /// The label itself, where there is no route: `otel.name`. Else it is the span's name, for what is no request.
    Label,
    /// The id to find the request by: `request_id`, `request.id`, `http.request.id`.
    RequestId,
    /// The client's address: `client.address`, `http.client_ip`, `client_ip`, `client_address`.
    ClientAddress,
    /// What the client calls itself: `user_agent.original`, `http.user_agent`, `user_agent`.
    UserAgent,
    /// The protocol or its version: `network.protocol.version`, `http.flavor`, `version`.
    Protocol,
    /// The id of the trace that it belongs to: `trace_id`.
    TraceId,
    /// Who makes the request: `enduser.id`, `user.id`.
    User,
    /// The status of the response: `http.response.status_code`, `http.status_code`. From 500 on the context ends as
    /// failed; so it does where `otel.status_code` is `ERROR`.
    Status,
}

/// What a field of this name says, if nobody has chosen otherwise.
pub(super) fn usual(name: &str) -> Option<SpanField> {
    Some(match name {
        "http.request.method" | "http.method" | "method" => SpanField::Method,
        "url.path" | "http.target" | "uri" | "http.uri" | "path" | "url.full" | "http.url" => SpanField::Path,
        "http.route" | "matched_path" | "route" => SpanField::Route,
        "otel.name" => SpanField::Label,
        "request_id" | "request.id" | "http.request.id" => SpanField::RequestId,
        "client.address" | "http.client_ip" | "client_ip" | "client_address" => SpanField::ClientAddress,
        "user_agent.original" | "http.user_agent" | "user_agent" => SpanField::UserAgent,
        "network.protocol.version" | "http.flavor" | "version" => SpanField::Protocol,
        "trace_id" => SpanField::TraceId,
        "enduser.id" | "user.id" => SpanField::User,
        "http.response.status_code" | "http.status_code" => SpanField::Status,
        _ => return None,
    })
}

/// Has it one of the usual fields for a method?
pub(super) fn has_method(metadata: &Metadata<'_>) -> bool {
    metadata.fields().iter().any(|field| usual(field.name()) == Some(SpanField::Method))
}

/// What the fields of one span say.
pub(super) struct Said<'a> {
    config: &'a Config,
    values: [Option<String>; SpanField::Status as usize],
    /// By `otel.kind`, it stands for no request of a client.
    pub(super) is_no_server: bool,
    pub(super) failed: bool,
}

impl<'a> Said<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self { config, values: Default::default(), is_no_server: false, failed: false }
    }

    /// What was said of it, if anything.
    pub(super) fn get(&self, what: SpanField) -> Option<&str> {
        self.values.get(what as usize)?.as_deref()
    }

    fn text(&mut self, field: &Field, text: impl FnOnce() -> String) {
        match self.config.says(field.name()) {
            Some(SpanField::Status) => self.failed |= text().parse().is_ok_and(is_failure),
            Some(says) => {
                let value = &mut self.values[says as usize];
                if value.is_none() {
                    let text = text();
                    *value = (!text.is_empty()).then_some(text);
                }
            }
            None if field.name() == "otel.kind" => {
                let kind = text();
                let is = |name| kind.eq_ignore_ascii_case(name);
                self.is_no_server = !(is("server") || is("consumer"));
            }
            None if field.name() == "otel.status_code" => self.failed |= text().eq_ignore_ascii_case("error"),
            None => {}
        }
    }
}

fn is_failure(status: u64) -> bool {
    (500..600).contains(&status)
}

impl Visit for Said<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, || cut(value.to_owned(), LIMIT));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, || {
            let text = line::printed(format_args!("{value:?}"), LIMIT);
            // `?path` of a text is in quotes.
            let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            cut(bare.map_or_else(|| text.clone(), str::to_owned), LIMIT)
        });
    }
}

/// Does the span ask to be entered inside other contexts as well?
#[derive(Default)]
pub(super) struct Asks(pub(super) bool);

impl Visit for Asks {
    fn record_bool(&mut self, field: &Field, value: bool) {
        if field.name() == ENTER {
            self.0 = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

/// At most so many bytes of it; where something is left out, that shows.
pub(super) fn cut(mut text: String, limit: usize) -> String {
    const MARK: char = '…';
    if text.len() > limit {
        let mut end = limit - MARK.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push(MARK);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_between_characters_and_says_so() {
        assert_eq!(cut("exactly8".to_owned(), 8), "exactly8");
        assert_eq!(cut("a bit longer".to_owned(), 8), "a bit…");
        assert_eq!(cut("äöüäöüäöü".to_owned(), 8), "äö…");
    }

    #[test]
    fn only_server_errors_are_failures() {
        assert_eq!([404, 499, 500, 599, 600].map(is_failure), [false, false, true, true, false]);
    }
}

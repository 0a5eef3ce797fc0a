//! The context that a root span becomes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use logcontext::{ContextKind, Ending, LogContext, Request, Supervisor};
use tracing::Metadata;

use super::config::Config;
use super::fields::{Said, SpanField, cut};

const METHOD: usize = 24;

/// A request that matched no route, or whose route nobody told us.
const UNMATCHED: &str = "(unmatched)";

/// What a span in which a context begins and ends knows besides the context.
#[derive(Debug, Default)]
pub(super) struct Root {
    failed: AtomicBool,
}

/// Starts the context of a root span. `next` numbers what is no request.
pub(super) fn start(
    config: &Config,
    metadata: &Metadata<'_>,
    said: &Said<'_>,
    next: impl FnOnce() -> u64,
) -> (LogContext, Root) {
    let supervisor = config.supervisor.clone().unwrap_or_else(Supervisor::current);
    let root = Root { failed: AtomicBool::new(said.failed) };
    let method = said.get(SpanField::Method).filter(|_| !said.is_no_server);
    let Some(method) = method else {
        let name = format!("{}-{}", metadata.name(), next());
        let route_or_label = said.get(SpanField::Route).or_else(|| said.get(SpanField::Label));
        let label = route_or_label.unwrap_or(metadata.name());
        return (supervisor.context(name).label(label).start(), root);
    };
    let name = format!("{}-{}", cut(method.to_owned(), METHOD), supervisor.next_request());
    let mut builder = supervisor.context(name).kind(ContextKind::Request).request(request(method, said));
    if let Some(label) = label(method, said) {
        builder = builder.label(&label);
    }
    (builder.start(), root)
}

/// Fields were recorded later.
pub(super) fn update(context: &LogContext, root: &Root, said: &Said<'_>) {
    if said.failed {
        root.failed.store(true, Relaxed);
    }
    if let Some(request) = context.request() {
        if let Some(label) = label(request.method(), said) {
            context.set_label(&label);
        }
        if let Some(user) = said.get(SpanField::User) {
            request.set_user(user);
        }
    }
}

/// The span is closed.
pub(super) fn finish(context: &LogContext, root: &Root, config: &Config) {
    if let Some(request) = context.request() {
        // Changes nothing if it has one.
        context.set_label(&format!("{} {UNMATCHED}", known(request.method())));
    }
    if config.log_costs {
        log_costs(context);
    }
    context.finish_as(if std::thread::panicking() {
        Ending::Panicked
    } else if root.failed.load(Relaxed) {
        Ending::Failed
    } else {
        Ending::Ok
    });
}

fn log_costs(context: &LogContext) {
    context.scope(|| {
        let usage = context.usage();
        let remote = Some(usage.remote()).filter(|remote| !remote.is_empty());
        tracing::info!(
            target: "logcontext::span",
            duration = context.elapsed().as_secs_f64(),
            cpu = usage.cpu().map(|cpu| cpu.as_secs_f64()),
            db_txn_count = usage.db_txn_count,
            db_txn_duration = usage.db_txn_duration.as_secs_f64(),
            db_wait = usage.db_wait().map(|wait| wait.as_secs_f64()),
            remote_calls = remote.map(|remote| remote.calls),
            remote_unknown = remote.map(|remote| remote.unknown),
            remote_cpu = remote.and_then(|remote| remote.cpu()).map(|cpu| cpu.as_secs_f64()),
            "finished",
        );
    });
}

fn request(method: &str, said: &Said<'_>) -> Request {
    let path = said.get(SpanField::Path).map_or("", path_of);
    let mut request = Request::new(cut(method.to_owned(), METHOD), path);
    if let Some(id) = said.get(SpanField::RequestId) {
        request = request.id(id);
    }
    if let Some(client) = said.get(SpanField::ClientAddress) {
        request = request.client(client);
    }
    if let Some(agent) = said.get(SpanField::UserAgent) {
        request = request.user_agent(agent);
    }
    if let Some(protocol) = said.get(SpanField::Protocol) {
        // OpenTelemetry has the version alone.
        let is_version = protocol.starts_with(|ch: char| ch.is_ascii_digit());
        request = request.protocol(if is_version { format!("HTTP/{protocol}") } else { protocol.to_owned() });
    }
    if let Some(trace) = said.get(SpanField::TraceId) {
        request = request.trace_id(trace);
    }
    if let Some(user) = said.get(SpanField::User) {
        request.set_user(user);
    }
    request
}

/// Never from the path: there are as many of those as clients can think of.
fn label(method: &str, said: &Said<'_>) -> Option<String> {
    let route = said.get(SpanField::Route).map(|route| format!("{} {route}", known(method)));
    route.or_else(|| said.get(SpanField::Label).map(str::to_owned))
}

/// Methods that HTTP does not know are one, whatever clients make up.
fn known(method: &str) -> &str {
    match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => method,
        _ => "OTHER",
    }
}

/// The path of a URI, whole or in part: without its query, where secrets are, and without its authority, where they
/// may be.
fn path_of(uri: &str) -> &str {
    let uri = uri.split(['?', '#']).next().unwrap_or_default();
    match uri.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => uri,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_neither_query_nor_authority() {
        assert_eq!(path_of("/presence/alice?key=1"), "/presence/alice");
        assert_eq!(path_of("https://me:secret@host:1/a/b?c#d"), "/a/b");
        assert_eq!(path_of("https://host?key=1"), "/");
        assert_eq!(path_of("/a://b"), "/a://b");
        assert_eq!(path_of("host:443"), "host:443");
        assert_eq!(path_of("*"), "*");
        assert_eq!(path_of("?"), "");
    }
}

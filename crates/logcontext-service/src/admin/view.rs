//! What lives and what runs, as JSON.

use std::cmp::Reverse;
use std::time::Duration;

use axum::Json;
use logcontext::{LogContext, Running, Supervisor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How much of a list.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default = "most")]
    limit: usize,
}

fn most() -> usize {
    1_000
}

#[derive(Debug, Serialize)]
pub(super) struct List {
    /// How many there are.
    total: usize,
    /// Some of them.
    #[serde(flatten)]
    rows: Map<String, Value>,
}

/// The contexts that live, those that burned most first.
pub(super) fn contexts(supervisor: &Supervisor, page: Page) -> Json<List> {
    let mut all: Vec<_> =
        supervisor.contexts().into_iter().map(|context| (context.usage().cpu(), context)).collect();
    let total = all.len();
    all.sort_by_key(|(cpu, _)| Reverse(*cpu));
    list(
        "contexts",
        total,
        all.iter().take(page.limit).map(|(_, context)| Value::Object(context_row(context))),
    )
}

/// What was fired off and has not ended, the oldest first.
pub(super) fn background(supervisor: &Supervisor, page: Page) -> Json<List> {
    let mut all = supervisor.running();
    let total = all.len();
    all.sort_by_key(|running| Reverse(running.age));
    list("background", total, all.iter().take(page.limit).map(running_row))
}

fn list(name: &str, total: usize, rows: impl Iterator<Item = Value>) -> Json<List> {
    Json(List { total, rows: Map::from_iter([(name.to_owned(), rows.collect())]) })
}

fn running_row(running: &Running) -> Value {
    let mut row = Map::new();
    row.insert("name".to_owned(), running.name.as_ref().into());
    row.insert("running_seconds".to_owned(), seconds(running.age));
    row.insert("started_at".to_owned(), running.origin.to_string().into());
    row.insert("context".to_owned(), Value::Object(context_row(&running.context)));
    Value::Object(row)
}

/// What is not known, or cannot be measured, is left out.
fn context_row(context: &LogContext) -> Map<String, Value> {
    let usage = context.usage();
    let mut row = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            row.insert(key.to_owned(), value);
        }
    };
    put("name", Some(context.name().into()));
    if context.is_sentinel() {
        return row;
    }
    put("kind", Some(context.kind().name().into()));
    put("label", context.label().map(Into::into));
    put("age_seconds", Some(seconds(context.elapsed())));
    put("finished", context.ending().map(|ending| ending.name().into()));
    put("cpu_user_seconds", usage.cpu_user().map(seconds));
    put("cpu_system_seconds", usage.cpu_system().map(seconds));
    put("db_transactions", Some(usage.db_txn_count.into()));
    put("db_transaction_seconds", Some(seconds(usage.db_txn_duration)));
    put("db_wait_seconds", usage.db_wait().map(seconds));
    let remote = usage.remote();
    if !remote.is_empty() {
        put("remote_calls", Some(remote.calls.into()));
        put("remote_unknown", Some(remote.unknown.into()));
        put("remote_cpu_seconds", remote.cpu().map(seconds));
        put("remote_db_transactions", Some(remote.db_txn_count.into()));
        put("remote_db_transaction_seconds", Some(seconds(remote.db_txn_duration)));
        put("remote_db_wait_seconds", remote.db_wait().map(seconds));
    }
    let counters: Map<_, _> = usage.counters().map(|(name, n)| (name.to_owned(), n.into())).collect();
    put("counters", (!counters.is_empty()).then_some(Value::Object(counters)));
    put("started_by", context.started_by().map(Into::into));
    put("made_at", context.origin().map(|origin| origin.to_string().into()));
    put(
        "request",
        context.request().map(|request| {
            json!({
                "id": context.request_id(),
                "method": request.method(),
                "path": request.path(),
                "client": request.client_address(),
                "user": request.user(),
                "user_agent": request.agent(),
                "trace_id": request.trace(),
            })
        }),
    );
    row
}

fn seconds(time: Duration) -> Value {
    time.as_secs_f64().into()
}

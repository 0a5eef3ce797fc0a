//! The access line: one for each request, for people and for programs.

mod escape;
mod line;

use std::time::Duration;

use http::StatusCode;
use logcontext::{EVT_DB_FETCH_COUNT, Ending, LogContext, RemoteUsage, ResourceUsage};
use tracing::Level;

use crate::connection::{ConnectionInfo, Listener};
use line::{Code, Line};

pub(crate) use escape::Escaped;

/// What there is to say about a request that is over.
pub(crate) struct Facts<'a> {
    pub(crate) context: &'a LogContext,
    pub(crate) connection: &'a LogContext,
    pub(crate) tag: Option<&'a str>,
    pub(crate) info: Option<&'a ConnectionInfo>,
    pub(crate) quiet: bool,
    pub(crate) status: Option<StatusCode>,
    /// From the start of the request.
    pub(crate) headers_at: Option<Duration>,
    pub(crate) bytes: u64,
    /// Did all of the response get to the server?
    pub(crate) complete: bool,
    pub(crate) ending: Ending,
}

/// Logs the line, in the request's context.
pub(crate) fn log(facts: &Facts<'_>) {
    let wanted = if facts.quiet {
        tracing::enabled!(target: "logcontext::access", Level::DEBUG)
    } else {
        tracing::enabled!(target: "logcontext::access", Level::INFO)
    };
    if wanted {
        // Before it is current again: then nothing has to be settled.
        let usage = facts.context.usage();
        facts.context.scope(|| write(facts, &usage));
    }
}

fn write(facts: &Facts<'_>, usage: &ResourceUsage) {
    let elapsed = facts.context.elapsed();
    let label = facts.context.label();
    let mut port = itoa::Buffer::new();
    // By the service's word for it, else by its port, or its socket's name.
    let listener = facts.tag.or_else(|| match facts.info?.listener()? {
        Listener::Port(number) => Some(port.format(number)),
        Listener::Socket(name) => Some(name),
    });
    let line = Line {
        request: facts.context.request(),
        listener,
        processing: facts.headers_at.unwrap_or(elapsed),
        sending: facts.headers_at.map(|at| elapsed.saturating_sub(at)),
        cpu_user: usage.cpu_user(),
        cpu_system: usage.cpu_system(),
        db_wait: usage.db_wait(),
        db_txn: usage.db_txn_duration,
        db_txn_count: usage.db_txn_count,
        remote: Some(usage.remote()).filter(|remote| !remote.is_empty()),
        db_events: usage.counter(&EVT_DB_FETCH_COUNT),
        bytes: facts.bytes,
        code: Code { status: facts.status, complete: facts.complete, ending: facts.ending },
    };
    let remote = |time: fn(&RemoteUsage) -> Option<Duration>| {
        line.remote.as_ref().and_then(time).map(|time| time.as_secs_f64())
    };
    macro_rules! event {
        ($level:expr) => {
            tracing::event!(
                target: "logcontext::access",
                $level,
                // For people. What is for programs has the figures below, and does not ask for it.
                message = %line,
                status = facts.status.map(|status| status.as_u16()),
                complete = facts.complete,
                outcome = facts.ending.name(),
                bytes = facts.bytes,
                label,
                listener,
                connection = (!facts.connection.is_sentinel()).then(|| facts.connection.name()),
                processing_seconds = line.processing.as_secs_f64(),
                sending_seconds = line.sending.as_ref().map(Duration::as_secs_f64),
                cpu_user_seconds = line.cpu_user.as_ref().map(Duration::as_secs_f64),
                cpu_system_seconds = line.cpu_system.as_ref().map(Duration::as_secs_f64),
                db_wait_seconds = line.db_wait.as_ref().map(Duration::as_secs_f64),
                db_txn_seconds = line.db_txn.as_secs_f64(),
                db_txn_count = line.db_txn_count,
                evt_db_fetch_count = line.db_events,
                remote_calls = line.remote.map(|remote| remote.calls),
                remote_unknown = line.remote.map(|remote| remote.unknown),
                remote_cpu_seconds = remote(|remote| remote.cpu()),
                remote_db_txn_count = line.remote.map(|remote| remote.db_txn_count),
                remote_db_txn_seconds = remote(|remote| Some(remote.db_txn_duration)),
                remote_db_wait_seconds = remote(|remote| remote.db_wait()),
            )
        };
    }
    if facts.quiet {
        event!(Level::DEBUG);
    } else {
        event!(Level::INFO);
    }
}

//! What a response's `Server-Timing` says its request has cost.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use logcontext::{RemoteUsage, ResourceUsage};

use super::metrics::{Metric, Metrics};

pub(crate) static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Longer than this, all in all, is no such header.
const LONGEST: usize = 4_096;

/// Times, in milliseconds: own, and what was caused elsewhere.
const CPU: [&str; 2] = ["cpu", "remote_cpu"];
const DB: [&str; 2] = ["db", "remote_db"];
const DB_WAIT: [&str; 2] = ["db_wait", "remote_db_wait"];
/// Counts, which a description begins with.
const DB_TXNS: [&str; 2] = ["db_txns", "remote_db_txns"];
const CALLS: &str = "remote_calls";
const UNKNOWN: &str = "remote_unknown";

/// All of them.
const NAMES: [&str; 10] =
    [CPU[0], CPU[1], DB[0], DB[1], DB_WAIT[0], DB_WAIT[1], DB_TXNS[0], DB_TXNS[1], CALLS, UNKNOWN];
const TIMES: usize = 6;

/// What a request has cost according to the `Server-Timing` of its response, as [`ContextLayer`](crate::ContextLayer)
/// writes it: for [`record_remote`](logcontext::LogContext::record_remote), where the client is no tower service.
/// [`ClientLayer`](crate::ClientLayer) does it for those that are.
///
/// The times `cpu`, `db` and `db_wait` are read whoever has written them, so where others mean something else by these
/// names, say so to the layer. Where there is no such header, or nothing of it is known here, or something of it cannot
/// be, the cost is [`unknown`](RemoteUsage::unknown).
///
/// ```
/// use http::HeaderMap;
/// use logcontext::RemoteUsage;
/// use logcontext_http::server_timing::remote_usage;
/// use std::time::Duration;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(remote_usage(&headers), RemoteUsage::unknown());
/// headers.insert("server-timing", "cache;desc=hit, cpu;dur=1.5, db;dur=0.25".parse().unwrap());
/// let cost = remote_usage(&headers);
/// assert_eq!((cost.calls, cost.cpu()), (1, Some(Duration::from_micros(1_500))));
/// assert_eq!(cost.db_txn_duration, Duration::from_micros(250));
/// ```
pub fn remote_usage(headers: &HeaderMap) -> RemoteUsage {
    read(headers).map_or_else(RemoteUsage::unknown, RemoteUsage::or_unknown)
}

fn read(headers: &HeaderMap) -> Option<RemoteUsage> {
    let values = || headers.get_all(&SERVER_TIMING).iter();
    if values().map(|value| value.as_bytes().len()).sum::<usize>() > LONGEST {
        return None;
    }
    let mut seen = [false; NAMES.len()];
    let mut figures = [None; NAMES.len()];
    for value in values() {
        // A description may be in any script; ours are not.
        let text = String::from_utf8_lossy(value.as_bytes());
        for metric in Metrics(&text) {
            let Some(at) = NAMES.iter().position(|name| *name == metric.name) else { continue };
            // The first wins.
            if !std::mem::replace(&mut seen[at], true) {
                figures[at] = figure(&metric, at)?;
            }
        }
    }
    if figures.iter().all(Option::is_none) {
        return None;
    }
    let [cpu, remote_cpu, db, remote_db, wait, remote_wait, txns, remote_txns, calls, unknown] = figures;
    let nanos = |figure: Option<u64>| Duration::from_nanos(figure.unwrap_or(0));
    let mut usage = RemoteUsage::call()
        .with_db_txns(txns.unwrap_or(0), nanos(db))
        .with_db_txns(remote_txns.unwrap_or(0), nanos(remote_db));
    for cpu in [cpu, remote_cpu].into_iter().flatten() {
        usage = usage.with_cpu(Duration::from_nanos(cpu));
    }
    for wait in [wait, remote_wait].into_iter().flatten() {
        usage = usage.with_db_wait(Duration::from_nanos(wait));
    }
    usage.calls = usage.calls.saturating_add(calls.unwrap_or(0));
    usage.unknown = unknown.unwrap_or(0);
    Some(usage)
}

/// Nothing if it does not say; `None` if what it says cannot be.
fn figure(metric: &Metric<'_>, at: usize) -> Option<Option<u64>> {
    if at < TIMES {
        metric.dur.as_deref().map_or(Some(None), |dur| nanos(dur).map(Some))
    } else {
        metric.desc.as_deref().map_or(Some(None), |desc| count(desc).map(Some))
    }
}

/// Of milliseconds, such as `12.345`.
fn nanos(millis: &str) -> Option<u64> {
    let is_number = millis.starts_with(|ch: char| ch.is_ascii_digit() || ch == '.');
    let nanos = is_number.then(|| millis.parse::<f64>().ok())?? * 1e6;
    // A float is cut to the most there can be.
    nanos.is_finite().then_some(nanos.round() as u64)
}

/// `2` of `2 transactions`.
fn count(desc: &str) -> Option<u64> {
    desc.split(' ').next()?.parse().ok().filter(|_| desc.starts_with(|ch: char| ch.is_ascii_digit()))
}

/// What a response's header says: times by name, and counts with what they are, which is how browsers show them.
pub(crate) fn figures(
    usage: &ResourceUsage,
    total: Duration,
) -> (impl Iterator<Item = (&'static str, Duration)>, impl Iterator<Item = (&'static str, u64, &'static str)>)
{
    let remote = usage.remote();
    let has_called = !remote.is_empty();
    let times = [
        (CPU[0], usage.cpu()),
        (DB[0], Some(usage.db_txn_duration)),
        (DB_WAIT[0], usage.db_wait()),
        ("total", Some(total)),
        (CPU[1], remote.cpu()),
        (DB[1], has_called.then_some(remote.db_txn_duration)),
        (DB_WAIT[1], remote.db_wait()),
    ];
    let counts = [
        (DB_TXNS[0], usage.db_txn_count, "transactions"),
        (CALLS, remote.calls, "remote calls"),
        (UNKNOWN, remote.unknown, "remote calls of unknown cost"),
        (DB_TXNS[1], remote.db_txn_count, "remote transactions"),
    ];
    (
        times.into_iter().filter_map(|(name, time)| Some((name, time?))),
        counts.into_iter().filter(|(_, count, _)| *count > 0),
    )
}

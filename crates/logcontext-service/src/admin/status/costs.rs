//! [`Cost`]: what the contexts of one label have cost.

use std::collections::BTreeMap;

use logcontext::LabelTotals;
use serde::Serialize;

use super::seconds;

/// Totals of one label. What cannot be measured is left out.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    kind: &'static str,
    /// Of contexts that have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    started: u64,
    in_flight: u64,
    failed: u64,
    panicked: u64,
    cancelled: u64,
    /// With that of slices that are open now.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_seconds: Option<f64>,
    db_transactions: u64,
    db_transaction_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    db_wait_seconds: Option<f64>,
    /// What its calls have caused elsewhere, apart from all that.
    remote_calls: u64,
    remote_unknown: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<&'static str, u64>,
}

impl Cost {
    pub(super) fn of(row: &LabelTotals) -> Self {
        let usage = &row.usage;
        let remote = usage.remote();
        Self {
            kind: row.kind.name(),
            label: row.label.as_deref().map(str::to_owned),
            started: row.started,
            in_flight: row.in_flight,
            failed: row.failed,
            panicked: row.panicked,
            cancelled: row.cancelled,
            cpu_seconds: usage.cpu().map(|cpu| seconds(cpu + row.open_cpu)),
            db_transactions: usage.db_txn_count,
            db_transaction_seconds: seconds(usage.db_txn_duration),
            db_wait_seconds: usage.db_wait().map(seconds),
            remote_calls: remote.calls,
            remote_unknown: remote.unknown,
            remote_cpu_seconds: remote.cpu().map(seconds),
            counters: usage.counters().filter(|(_, n)| *n > 0).collect(),
        }
    }
}

//! [`Page`]: what a process tells of itself on `/status`, as far as it is looked at here.

use std::collections::BTreeMap;

use serde::Deserialize;

/// First who it is: of others' pages nothing else is read.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    pub(super) page: u32,
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) version: String,
    pub(super) details: BTreeMap<String, String>,
    pub(super) instance: String,
    pub(super) process_id: u32,
    pub(super) uptime_seconds: f64,
    pub(super) requests_in_flight: u64,
    pub(super) background_running: u64,
    pub(super) diagnostics: BTreeMap<String, u64>,
    pub(super) panics: u64,
    pub(super) costs: Vec<PageCost>,
    pub(super) figures: Vec<PageFigure>,
    pub(super) figures_left_out: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct PageCost {
    pub(super) kind: String,
    pub(super) label: Option<String>,
    pub(super) started: u64,
    pub(super) in_flight: u64,
    pub(super) failed: u64,
    pub(super) panicked: u64,
    pub(super) cancelled: u64,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) db_transactions: u64,
    pub(super) db_transaction_seconds: f64,
    pub(super) db_wait_seconds: Option<f64>,
    /// Calls to others that have told what they cost, if there were any.
    #[serde(default)]
    pub(super) remote_calls: u64,
    #[serde(default)]
    pub(super) remote_cpu_seconds: f64,
}

/// Of a histogram only its name is read.
#[derive(Debug, Deserialize)]
pub(super) struct PageFigure {
    pub(super) name: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) value: Option<f64>,
}

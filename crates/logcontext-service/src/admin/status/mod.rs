//! `/status`: all that one process is asked to tell by who looks at several, on one page.

mod costs;
mod figures;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{ContextKind, LabelTotals, Supervisor};
use serde::Serialize;

use costs::Cost;
use figures::{Figures, Read};

/// Which page this is. It changes when something on it changes its meaning or is gone, not when something is added.
const PAGE: u32 = 1;

/// Who answers.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) details: Vec<(&'static str, String)>,
    pub(crate) started: Instant,
    /// Which run of it: so that one that is asked at two addresses, or was started again, is known as that.
    pub(crate) instance: String,
}

impl Identity {
    /// Of a server that starts now.
    pub(crate) fn new(
        name: &'static str,
        version: &'static str,
        details: Vec<(&'static str, String)>,
    ) -> Self {
        let instance = format!("{:016x}", random());
        Self { name, version, details, started: Instant::now(), instance }
    }
}

/// Keys of the standard library's hashers differ from run to run and from hasher to hasher.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Writes the page.
pub(crate) struct Status {
    supervisor: Supervisor,
    identity: Identity,
    figures: Figures,
}

#[derive(Debug, Serialize)]
pub(super) struct StatusPage {
    page: u32,
    name: &'static str,
    version: &'static str,
    details: BTreeMap<&'static str, String>,
    instance: String,
    process_id: u32,
    uptime_seconds: f64,
    requests_in_flight: u64,
    background_running: usize,
    /// Those that were raised.
    diagnostics: BTreeMap<&'static str, u64>,
    panics: u64,
    costs: Vec<Cost>,
    #[serde(flatten)]
    read: Read,
}

impl Status {
    pub(crate) fn new(supervisor: &Supervisor, identity: Identity) -> Self {
        Self { supervisor: supervisor.clone(), identity, figures: Figures::default() }
    }

    pub(super) fn page(&self) -> Json<StatusPage> {
        let (supervisor, identity) = (&self.supervisor, &self.identity);
        let totals = supervisor.totals();
        let counted = DiagnosticKind::ALL.iter().map(|kind| (kind.name(), supervisor.diagnostics(*kind)));
        Json(StatusPage {
            page: PAGE,
            name: identity.name,
            version: identity.version,
            details: identity.details.iter().cloned().collect(),
            instance: identity.instance.clone(),
            process_id: std::process::id(),
            uptime_seconds: identity.started.elapsed().as_secs_f64(),
            requests_in_flight: in_flight(&totals),
            background_running: background(supervisor),
            diagnostics: counted.filter(|(_, n)| *n > 0).collect(),
            panics: supervisor.panics(),
            costs: totals.iter().filter(|row| row.started > 0).map(Cost::of).collect(),
            read: self.figures.read(supervisor),
        })
    }
}

/// But for the one that asks.
fn in_flight(totals: &[LabelTotals]) -> u64 {
    let requests = totals.iter().filter(|row| row.kind == ContextKind::Request);
    requests.map(|row| row.in_flight).sum::<u64>().saturating_sub(1)
}

/// Connections are not what anybody has put there.
fn background(supervisor: &Supervisor) -> usize {
    let running = supervisor.running();
    running.iter().filter(|running| running.context.kind() != ContextKind::Connection).count()
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

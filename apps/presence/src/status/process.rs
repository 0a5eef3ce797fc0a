//! [`Process`]: one process, as it is shown.

use std::collections::BTreeMap;

use serde::Serialize;

use super::page::{Page, PageFigure};

/// What is shown of one process. What it does not tell is absent.
#[derive(Debug, Serialize)]
pub(crate) struct Process {
    /// Which hub it is of, if that has a name.
    pub(crate) hub: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) version: String,
    pub(crate) process_id: u32,
    pub(crate) instance: String,
    pub(crate) uptime_seconds: f64,
    pub(crate) requests_in_flight: u64,
    pub(crate) background_running: u64,
    pub(crate) bus_connected: Option<bool>,
    /// Those that this process keeps an eye on: of all processes on a bus, each is one's.
    pub(crate) groups: Vec<Group>,
    /// What waits in it to be sent to other hubs.
    pub(crate) pending_destinations: Option<u64>,
    pub(crate) pending_states: Option<u64>,
    pub(crate) destinations_behind: Option<u64>,
    /// What waits in its database for the broker.
    pub(crate) outbox_rows: Option<u64>,
    pub(crate) diagnostics: BTreeMap<String, u64>,
    pub(crate) panics: u64,
}

/// How far a group of listeners is behind.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) event: String,
    pub(crate) group: String,
    pub(crate) unread: u64,
    pub(crate) pending: u64,
}

impl Process {
    pub(super) fn of(page: &Page) -> Self {
        let figures = Figures(&page.figures);
        let detail = |key: &str| page.details.get(key).filter(|value| !value.is_empty()).cloned();
        Self {
            hub: detail("hub"),
            role: detail("role"),
            version: page.version.clone(),
            process_id: page.process_id,
            instance: page.instance.clone(),
            uptime_seconds: page.uptime_seconds,
            requests_in_flight: page.requests_in_flight,
            background_running: page.background_running,
            bus_connected: figures.all("bus_connected").map(|value| value > 0.0).reduce(|a, b| a && b),
            groups: figures.groups(),
            pending_destinations: figures.sum("presence_pending_destinations"),
            pending_states: figures.sum("presence_pending_states"),
            destinations_behind: figures.sum("presence_destinations_behind"),
            outbox_rows: figures.sum("outbox_rows"),
            diagnostics: page.diagnostics.clone(),
            panics: page.panics,
        }
    }
}

struct Figures<'a>(&'a [PageFigure]);

impl Figures<'_> {
    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a PageFigure, f64)> {
        let named = self.0.iter().filter(move |figure| figure.name == name);
        named.filter_map(|figure| Some((figure, figure.value?)))
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = f64> {
        self.named(name).map(|(_, value)| value)
    }

    /// Of one process, whatever the labels.
    fn sum(&self, name: &str) -> Option<u64> {
        self.all(name).reduce(|a, b| a + b).map(whole)
    }

    fn groups(&self) -> Vec<Group> {
        let label = |figure: &PageFigure, label| figure.labels.get(label).cloned().unwrap_or_default();
        let unread = self.named("bus_group_unread").map(|(figure, value)| {
            let pending = self.named("bus_group_pending").find(|(other, _)| other.labels == figure.labels);
            Group {
                event: label(figure, "event"),
                group: label(figure, "group"),
                unread: whole(value),
                pending: pending.map_or(0, |(_, pending)| whole(pending)),
            }
        });
        let mut groups: Vec<_> = unread.collect();
        groups.sort_by(|a, b| (&a.event, &a.group).cmp(&(&b.event, &b.group)));
        groups
    }
}

/// Of what is counted: a gauge is never less than nothing.
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}

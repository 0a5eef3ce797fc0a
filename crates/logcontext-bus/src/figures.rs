//! How figures of a bus are named; and those of its connection. All have the label `bus`, the service's name.

use std::sync::Arc;

use logcontext::source::{Collector, Figure, FigureKind, Source};

use crate::transport::Transport;

const CONNECTED: Figure = gauge("bus_connected", "1 while there is a connection to the broker, else 0.");
const CONNECTIONS: Figure = gauge("bus_connections", "Connections to the broker that are open.");
const RECONNECTS: Figure = counter("bus_reconnects", "Times that it has connected to the broker again.");
const QUEUED: Figure = gauge("bus_queued", "Commands that wait for the broker.");
const QUEUE_FULL: Figure = gauge("bus_queue_full", "1 while a queue to the broker is full, else 0.");

pub(crate) const fn counter(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Counter }
}

pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Gauge }
}

pub(crate) const fn histogram(name: &'static str, help: &'static str) -> Figure {
    Figure { name, help, kind: FigureKind::Histogram }
}

/// The figures of a bus's connection.
pub(crate) struct ConnectionFigures {
    pub(crate) service: String,
    pub(crate) transport: Arc<dyn Transport>,
}

impl Source for ConnectionFigures {
    fn describe(&self) -> &[Figure] {
        const { &[CONNECTED, CONNECTIONS, RECONNECTS, QUEUED, QUEUE_FULL] }
    }

    fn collect(&self, out: &mut dyn Collector) {
        let status = self.transport.status();
        let labels: &[(&'static str, &str)] = &[("bus", &self.service), ("transport", self.transport.name())];
        out.value(CONNECTED.name, labels, f64::from(u8::from(status.connected.is_ok())));
        out.value(CONNECTIONS.name, labels, status.connections as f64);
        out.value(RECONNECTS.name, labels, status.reconnects as f64);
        out.value(QUEUED.name, labels, status.queued as f64);
        out.value(QUEUE_FULL.name, labels, f64::from(u8::from(status.is_full)));
    }
}

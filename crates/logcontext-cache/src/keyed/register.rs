//! Names of queues: each is one's own within its supervisor.

use std::sync::Arc;

use logcontext::Supervisor;
use logcontext::source::{Buckets, Collector, Source};

use super::figures::{KIND, NAME};
use super::shared::{Keyed, QueueKey};

/// The name, or, if a queue of this kind has it already, the name with the first number behind it that is free.
pub(super) fn free_name(supervisor: &Supervisor, kind: &str, name: &str) -> Box<str> {
    let mut taken = Names { kind, found: Vec::new() };
    for source in supervisor.sources() {
        source.collect(&mut taken);
    }
    let is_free = |name: &str| !taken.found.iter().any(|found| found == name);
    if is_free(name) {
        return name.into();
    }
    let mut number = 2_u64;
    loop {
        let name = format!("{name}_{number}");
        if is_free(&name) {
            return name.into();
        }
        number += 1;
    }
}

/// Has its supervisor know of the queue, for as long as there is one.
pub(super) fn register<K: QueueKey>(keyed: &Arc<Keyed<K>>) {
    let source: Arc<dyn Source> = Arc::<Keyed<K>>::clone(keyed);
    keyed.supervisor.register(&source);
}

/// The names that are on figures of queues.
struct Names<'a> {
    kind: &'a str,
    found: Vec<String>,
}

impl Collector for Names<'_> {
    fn value(&mut self, _: &'static str, labels: &[(&'static str, &str)], _: f64) {
        if let [(KIND, kind), (NAME, name)] = labels
            && *kind == self.kind
        {
            self.found.push((*name).to_owned());
        }
    }

    fn histogram(&mut self, _: &'static str, _: &[(&'static str, &str)], _: &Buckets) {}
}

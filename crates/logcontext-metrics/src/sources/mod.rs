//! The figures of every source: read, checked, and put together by name.
//!
//! A source is other people's code. Whatever it says that is no figure is left out, counted and logged once; the rest
//! of the scrape goes on.

mod check;
mod family;
mod faults;
mod read;

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use logcontext::Supervisor;
use logcontext::source::Source;

use crate::encode::Text;
use family::Families;
pub(crate) use family::Shown;
use faults::Fault;
pub(crate) use faults::Faults;
pub(crate) use read::Reading;

/// What an exporter remembers of the sources from scrape to scrape.
pub(crate) struct Sources {
    known: HashMap<u64, Known>,
    next: u64,
    families: Families,
    faults: Faults,
}

struct Known {
    /// Keeps its place in memory from being used again: so it can be told by that.
    source: Weak<dyn Source>,
    faults: [bool; Fault::ALL.len()],
}

/// A source to be read.
pub(crate) struct Asked {
    id: u64,
    source: Arc<dyn Source>,
}

impl Sources {
    pub(crate) fn new(limit: usize) -> Self {
        Self { known: HashMap::new(), next: 1, families: Families::new(limit), faults: Faults::default() }
    }

    /// Those to read. One that has panicked is not asked again: each time would be a report of a panic.
    pub(crate) fn list(&mut self, supervisor: &Supervisor) -> Vec<Asked> {
        let sources = supervisor.sources();
        let before = self.known.len();
        self.known.retain(|_, known| known.source.strong_count() > 0);
        if self.known.len() < before {
            self.families.forget(|owner| !self.known.contains_key(&owner));
        }
        let by_place: HashMap<*const (), u64> =
            self.known.iter().map(|(id, known)| (place(known.source.as_ptr()), *id)).collect();
        let mut asked = Vec::with_capacity(sources.len());
        for source in sources {
            let id = by_place.get(&place(Arc::as_ptr(&source))).copied().unwrap_or_else(|| {
                let id = self.next;
                self.next += 1;
                self.known.insert(id, Known { source: Arc::downgrade(&source), faults: Default::default() });
                id
            });
            let has_panicked =
                self.known.get(&id).is_some_and(|known| known.faults[Fault::Panicked as usize]);
            if !has_panicked && !asked.iter().any(|asked: &Asked| asked.id == id) {
                asked.push(Asked { id, source });
            }
        }
        asked
    }

    /// Puts together what they said. What is to be written can be so without us.
    pub(crate) fn show(&mut self, readings: Vec<(u64, Reading)>) -> Vec<Shown> {
        let mut scrape = self.families.begin();
        let mut found = Vec::new();
        for (id, reading) in readings {
            found.extend(reading.faults.iter().map(|(fault, name)| (id, *fault, *name)));
            for sample in reading.samples {
                let name = sample.figure.name;
                if let Err(fault) = scrape.take(id, sample) {
                    found.push((id, fault, name));
                }
            }
        }
        let shown = scrape.end();
        for (id, fault, name) in found {
            if let Some(known) = self.known.get_mut(&id)
                && !std::mem::replace(&mut known.faults[fault as usize], true)
            {
                self.faults.count(fault, name);
            }
        }
        shown
    }

    pub(crate) fn faults(&self) -> Faults {
        self.faults
    }
}

impl Asked {
    /// Reads it, where no lock of ours is held.
    pub(crate) fn read(&self) -> (u64, Reading) {
        (self.id, Reading::of(&*self.source))
    }
}

fn place(source: *const dyn Source) -> *const () {
    source.cast()
}

/// Writes all that the sources said.
pub(crate) fn write(text: &mut Text, shown: &[Shown]) {
    for family in shown {
        family.write(text);
    }
}

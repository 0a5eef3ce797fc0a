//! Families of figures: those of one name, whichever source they are from.

use std::collections::HashMap;
use std::sync::Arc;

use super::faults::Fault;
use super::read::{Observed, Sample};
use crate::encode::{Kind, Text, Value};

/// Nobody's own: what is summed under `other`.
const SHARED: u64 = 0;

/// All families that any source had so far, in the order in which they came up.
pub(super) struct Families {
    limit: usize,
    scrape: u64,
    all: Vec<Family>,
    by_name: HashMap<&'static str, usize>,
}

struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    series: HashMap<Arc<str>, Series>,
    /// Of the series, how many are not shared
    owned: usize,
}

struct Series {
    /// The source that it is from
    owner: u64,
    /// The last scrape that had it
    scrape: u64,
    value: Observed,
    /// The highest that was shown, of what only grows
    high: Option<Observed>,
}

/// A family as it is now.
pub(crate) struct Shown {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    series: Vec<(Arc<str>, Observed)>,
}

/// One scrape: takes samples, in the end the families.
pub(super) struct Scrape<'a> {
    families: &'a mut Families,
    /// Series in the order in which they came, by family
    order: Vec<Vec<Arc<str>>>,
}

impl Families {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, scrape: 0, all: Vec::new(), by_name: HashMap::new() }
    }

    /// Forgets the series of owners that are gone. Whoever brings them anew counts from zero.
    pub(super) fn forget(&mut self, is_gone: impl Fn(u64) -> bool) {
        for family in &mut self.all {
            family.series.retain(|_, series| series.owner == SHARED || !is_gone(series.owner));
            family.owned = family.series.values().filter(|series| series.owner != SHARED).count();
        }
    }

    pub(super) fn begin(&mut self) -> Scrape<'_> {
        self.scrape += 1;
        Scrape { families: self, order: Vec::new() }
    }
}

impl Scrape<'_> {
    pub(super) fn take(&mut self, owner: u64, sample: Sample) -> Result<(), Fault> {
        let Families { limit, scrape, all, by_name } = &mut *self.families;
        let (limit, scrape) = (*limit, *scrape);
        let figure = sample.figure;
        let index = *by_name.entry(figure.name).or_insert_with(|| {
            let (name, help, kind) = (figure.name, figure.help, sample.kind);
            all.push(Family { name, help, kind, series: HashMap::new(), owned: 0 });
            all.len() - 1
        });
        let family = &mut all[index];
        if family.kind != sample.kind {
            return Err(Fault::Kind);
        }
        if self.order.len() <= index {
            self.order.resize_with(index + 1, Vec::new);
        }
        let order = &mut self.order[index];

        let is_known = family.series.contains_key(&*sample.labels);
        let is_beyond = !is_known && family.owned >= limit && !sample.labels.is_empty();
        // Also where somebody calls all that `other` by itself.
        let is_other = is_beyond || (sample.labels == sample.other && !sample.labels.is_empty());
        let (owner, labels) = if is_other { (SHARED, sample.other) } else { (owner, sample.labels) };
        let Some((labels, series)) = family.find(&labels) else {
            let labels: Arc<str> = labels.into();
            order.push(Arc::clone(&labels));
            family.owned += usize::from(owner != SHARED);
            family.series.insert(labels, Series { owner, scrape, value: sample.value, high: None });
            return Ok(());
        };
        if series.scrape < scrape {
            if series.owner != owner && series.owner != SHARED {
                // The one that had it lives and has it no more.
                (series.owner, series.high) = (owner, None);
            }
            series.scrape = scrape;
            series.value = sample.value;
            order.push(labels);
        } else if series.owner == SHARED {
            series.value.add(&sample.value);
        } else {
            return Err(Fault::Duplicate);
        }
        Ok(())
    }

    pub(super) fn end(self) -> Vec<Shown> {
        let mut shown = Vec::with_capacity(self.order.len());
        for (family, order) in self.families.all.iter_mut().zip(self.order) {
            let Family { name, help, kind, .. } = *family;
            let mut series = Vec::with_capacity(order.len());
            for labels in order {
                if let Some(one) = family.series.get_mut(&labels) {
                    if kind != Kind::Gauge {
                        one.value.raise_to(one.high.as_ref());
                        one.high = Some(one.value.clone());
                    }
                    series.push((labels, one.value.clone()));
                }
            }
            shown.push(Shown { name, help, kind, series });
        }
        shown
    }
}

impl Family {
    fn find(&mut self, labels: &str) -> Option<(Arc<str>, &mut Series)> {
        let known = self.series.get_key_value(labels).map(|(labels, _)| Arc::clone(labels))?;
        let series = self.series.get_mut(&known)?;
        Some((known, series))
    }
}

impl Observed {
    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Number(sum), Self::Number(n)) => *sum += n,
            (Self::Spread(sum), Self::Spread(spread)) => sum.add(spread),
            // All of a family are of one kind.
            _ => {}
        }
    }

    fn raise_to(&mut self, high: Option<&Self>) {
        match (self, high) {
            (Self::Number(now), Some(Self::Number(high))) => *now = now.max(*high),
            (Self::Spread(now), Some(Self::Spread(high))) => now.raise_to(high),
            _ => {}
        }
    }
}

impl Shown {
    pub(super) fn write(&self, text: &mut Text) {
        let mut family = text.family(self.name, self.kind, self.help);
        for (labels, value) in &self.series {
            match value {
                Observed::Number(value) => family.sample(labels, Value::Float(*value)),
                Observed::Spread(spread) => family.histogram(labels, spread),
            }
        }
    }
}

//! The labels that an exporter knows, and the last value it has shown of each.

use std::collections::HashMap;
use std::sync::Arc;

use logcontext::{ContextKind, LabelTotals};

use super::figures::Figures;
use crate::encode::push_label;
use crate::own::{NONE, OTHER};

/// One label of one kind.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(super) kind: ContextKind,
    /// As a pair of name and value, escaped
    pub(super) pair: Arc<str>,
    /// Has a label, or is of a kind that does without: otherwise it is a gauge, and in no counter.
    pub(super) is_counted: bool,
    pub(super) figures: Figures,
}

/// Those of all kinds. A row that is known stays known, so that each scrape has the same ones.
pub(crate) struct Rows {
    limit: usize,
    /// What each row was, at the last scrape
    last: Vec<Row>,
    by_kind: HashMap<ContextKind, Known>,
}

#[derive(Default)]
struct Known {
    /// By label, also those that are `other`
    rows: HashMap<Box<str>, usize>,
    /// How many rows count towards the limit
    limited: usize,
}

impl Rows {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, last: Vec::new(), by_kind: HashMap::new() }
    }

    /// What to show of these totals, with the rows in the order in which they came up.
    pub(crate) fn show(&mut self, totals: &[LabelTotals]) -> Vec<Row> {
        let places: Vec<usize> = totals.iter().map(|totals| self.place(totals)).collect();
        let mut rows: Vec<Row> =
            self.last.iter().map(|row| Row { figures: Figures::default(), ..row.clone_head() }).collect();
        for (totals, place) in totals.iter().zip(places) {
            let row = &mut rows[place];
            if totals.label.is_some() || totals.kind == ContextKind::Task {
                row.is_counted = true;
                row.figures.add(totals);
            } else {
                row.figures.in_flight += totals.in_flight;
            }
        }
        for (row, last) in rows.iter_mut().zip(&mut self.last) {
            row.figures.raise_to(&last.figures);
            last.clone_from(row);
        }
        rows
    }

    /// Where the row of these totals is; it gets one if it has none.
    fn place(&mut self, totals: &LabelTotals) -> usize {
        let known = self.by_kind.entry(totals.kind).or_default();
        let name = totals.label.as_deref().unwrap_or(NONE);
        if let Some(place) = known.rows.get(name) {
            return *place;
        }
        let is_limited = totals.label.is_some() && name != OTHER;
        let is_beyond = is_limited && known.limited >= self.limit;
        let shown = if is_beyond { OTHER } else { name };
        let mut pair = String::new();
        push_label(&mut pair, label_name(totals.kind), shown);
        // Not by name: two may look alike once they are escaped.
        let place = self.last.iter().position(|row| row.kind == totals.kind && *row.pair == *pair);
        let place = place.unwrap_or_else(|| {
            known.limited += usize::from(is_limited && !is_beyond);
            let figures = Figures::default();
            self.last.push(Row { kind: totals.kind, pair: pair.into(), is_counted: false, figures });
            self.last.len() - 1
        });
        // The core has an end of labels as well, so this has one.
        known.rows.insert(name.into(), place);
        place
    }
}

impl Row {
    fn clone_head(&self) -> Self {
        Self { pair: Arc::clone(&self.pair), figures: Figures::default(), ..*self }
    }
}

/// What the label of this kind is called: a background process and a block have names, a connection came in at a
/// listener.
pub(super) fn label_name(kind: ContextKind) -> &'static str {
    match kind {
        ContextKind::Background | ContextKind::Block => "name",
        ContextKind::Connection => "listener",
        _ => "label",
    }
}

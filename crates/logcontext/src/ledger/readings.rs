//! What a ledger is read for.

use std::sync::{Arc, Weak};

use rustc_hash::FxHashMap;

use super::Ledger;
use super::account::Account;
use super::label::LabelTotals;
use super::moves::Moved;
use super::totals::{Rows, Totals, is_of_roots, row};
use super::walk::Reading;
use crate::context::Inner;
use crate::kind::ContextKind;
use crate::labels::Labels;

/// What the contexts of one label have cost.
#[derive(Default)]
pub(super) struct Row {
    pub(super) totals: Totals,
    pub(super) in_flight: u64,
    /// CPU in open slices.
    pub(super) open: u64,
}

/// Totals by label.
pub(super) struct ByLabel<'a> {
    rows: Rows<Row>,
    /// The open slices, by context id.
    open: &'a FxHashMap<u64, i64>,
    /// The contexts that have one: a thread each, at most.
    found: Vec<(Arc<Inner>, i64)>,
}

impl<'a> ByLabel<'a> {
    pub(super) fn new(open: &'a FxHashMap<u64, i64>) -> Self {
        Self { rows: Rows::default(), open, found: Vec::with_capacity(open.len()) }
    }

    /// In the order in which the labels came up.
    pub(super) fn totals(mut self, labels: &Labels) -> Vec<LabelTotals> {
        for (inner, nanos) in std::mem::take(&mut self.found) {
            // As it will be charged: to the context and to all that it is a part of.
            inner.with_ancestors(|account| {
                if let Some(row) = row(account) {
                    self.rows.at(row).open += nanos.cast_unsigned();
                }
            });
        }
        let name = |row: usize| match row.checked_sub(ContextKind::COUNT) {
            None => Some((ContextKind::ALL[row], None)),
            // Whoever has seen an index finds its label.
            Some(index) => labels.get(index).map(|label| (label.kind, Some(Arc::clone(&label.name)))),
        };
        let rows = self.rows.iter().filter_map(|(row, figures)| {
            let (kind, label) = name(row)?;
            Some(LabelTotals::new(kind, label, figures))
        });
        rows.filter(|row| row.started > 0).collect()
    }
}

impl Reading for ByLabel<'_> {
    fn gone(&mut self, _: &Ledger, row: usize, totals: &Totals) {
        self.rows.at(row).totals.merge(totals);
    }

    fn live(&mut self, account: &Account, context: &Weak<Inner>) {
        if let Some(&nanos) = self.open.get(&account.id())
            && let Some(inner) = context.upgrade()
        {
            self.found.push((inner, nanos));
        }
        let Some(row) = row(account) else { return };
        let row = self.rows.at(row);
        if !row.totals.add(account) {
            row.in_flight += 1;
        }
    }

    fn moved(&mut self, moved: &Moved) {
        for (row, (given, taken)) in &moved.rows {
            self.rows.at(*row).totals.adjust(given, taken);
        }
    }
}

/// CPU charged to root contexts: each charge once, for nested ones roll up to their root.
#[derive(Debug, Default)]
pub(super) struct RootCpu(pub(super) i64);

impl Reading for RootCpu {
    fn gone(&mut self, ledger: &Ledger, row: usize, totals: &Totals) {
        if is_of_roots(row, &ledger.labels) {
            self.0 += totals.cpu.cast_signed();
        }
    }

    fn live(&mut self, account: &Account, _: &Weak<Inner>) {
        if !account.kind().is_nested() {
            self.0 += account.cpu().cast_signed();
        }
    }

    fn moved(&mut self, moved: &Moved) {
        self.0 += moved.root_cpu;
    }
}

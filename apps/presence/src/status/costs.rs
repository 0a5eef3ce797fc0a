//! [`Cost`]: what the work of one label has cost in all processes together.

use std::collections::BTreeMap;

use serde::Serialize;

use super::page::PageCost;

/// Sums over all processes. What one of them cannot measure is absent.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) kind: String,
    pub(crate) label: Option<String>,
    pub(crate) started: u64,
    pub(crate) in_flight: u64,
    /// Panics are among them.
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) db_transactions: u64,
    pub(crate) db_transaction_seconds: f64,
    pub(crate) db_wait_seconds: Option<f64>,
    pub(crate) remote_calls: u64,
    pub(crate) remote_cpu_seconds: f64,
}

/// Parts of others, whose costs have them already.
const PARTS: [&str; 2] = ["block", "nested"];

/// By kind and label, the most expensive first.
pub(super) fn sum<'a>(rows: impl Iterator<Item = &'a PageCost>) -> Vec<Cost> {
    let mut sums: BTreeMap<(&str, Option<&str>), Cost> = BTreeMap::new();
    for row in rows.filter(|row| !PARTS.contains(&&*row.kind)) {
        let cost = Cost::of(row);
        sums.entry((&row.kind, row.label.as_deref())).and_modify(|sum| sum.add(&cost)).or_insert(cost);
    }
    let mut sums: Vec<_> = sums.into_values().collect();
    sums.sort_by(|a, b| b.expense().total_cmp(&a.expense()));
    sums
}

impl Cost {
    fn of(row: &PageCost) -> Self {
        Self {
            kind: row.kind.clone(),
            label: row.label.clone(),
            started: row.started,
            in_flight: row.in_flight,
            failed: row.failed.saturating_add(row.panicked),
            cancelled: row.cancelled,
            cpu_seconds: row.cpu_seconds,
            db_transactions: row.db_transactions,
            db_transaction_seconds: row.db_transaction_seconds,
            db_wait_seconds: row.db_wait_seconds,
            remote_calls: row.remote_calls,
            remote_cpu_seconds: row.remote_cpu_seconds,
        }
    }

    /// Numbers from elsewhere may be as large as they like.
    fn add(&mut self, other: &Self) {
        let counts = [
            (&mut self.started, other.started),
            (&mut self.in_flight, other.in_flight),
            (&mut self.failed, other.failed),
            (&mut self.cancelled, other.cancelled),
            (&mut self.db_transactions, other.db_transactions),
            (&mut self.remote_calls, other.remote_calls),
        ];
        for (sum, n) in counts {
            *sum = sum.saturating_add(n);
        }
        self.cpu_seconds = both(self.cpu_seconds, other.cpu_seconds);
        self.db_wait_seconds = both(self.db_wait_seconds, other.db_wait_seconds);
        self.db_transaction_seconds += other.db_transaction_seconds;
        self.remote_cpu_seconds += other.remote_cpu_seconds;
    }

    /// CPU; where that cannot be measured, the time in the database.
    fn expense(&self) -> f64 {
        self.cpu_seconds.unwrap_or(self.db_transaction_seconds)
    }
}

fn both(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? + b?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str, label: &str, started: u64, cpu_seconds: Option<f64>) -> PageCost {
        let none = serde_json::json!({
            "kind": kind, "label": label, "started": started, "in_flight": 0, "failed": 1, "panicked": 1,
            "cancelled": 0, "cpu_seconds": cpu_seconds, "db_transactions": 2, "db_transaction_seconds": 0.5,
            "db_wait_seconds": 0.25, "remote_calls": 3, "remote_cpu_seconds": 0.125,
        });
        serde_json::from_value(none).unwrap()
    }

    #[test]
    fn labels_are_summed_by_kind_the_most_expensive_first_and_parts_left_out() {
        let rows = [
            row("request", "cheap", 1, Some(0.25)),
            row("request", "dear", 1, Some(1.0)),
            row("background", "dear", 9, Some(0.5)),
            row("block", "dear", 100, Some(100.0)),
            row("request", "dear", 2, Some(2.0)),
            row("nested", "dear", 100, Some(100.0)),
        ];
        let sums = sum(rows.iter());
        let seen: Vec<_> =
            sums.iter().map(|sum| (&*sum.kind, sum.label.as_deref().unwrap(), sum.started)).collect();
        assert_eq!(seen, [("request", "dear", 3), ("background", "dear", 9), ("request", "cheap", 1)]);
        let dear = &sums[0];
        assert_eq!((dear.cpu_seconds, dear.failed, dear.db_transactions), (Some(3.0), 4, 4));
        assert_eq!((dear.db_transaction_seconds, dear.db_wait_seconds), (1.0, Some(0.5)));
        assert_eq!((dear.remote_calls, dear.remote_cpu_seconds), (6, 0.25));
    }

    #[test]
    fn what_one_cannot_measure_has_no_sum_and_nothing_overflows() {
        let rows = [row("request", "a", u64::MAX, Some(1.0)), row("request", "a", 5, None)];
        let sums = sum(rows.iter());
        assert_eq!((sums[0].cpu_seconds, sums[0].started), (None, u64::MAX));
    }
}

//! The books, the totals by label and the figures of every source, as Prometheus and OpenMetrics text.

//! The books, the totals by label and the figures of every source, as Prometheus and OpenMetrics text.
//!
//! An [`Exporter`] reads one [`Supervisor`](logcontext::Supervisor) at each scrape; nothing is gathered between
//! two of them, and nothing on the way of a request is counted for it. What requests cost is known already: this
//! crate only writes it down.
//!
//! ```
//! use logcontext::{ContextKind, Supervisor};
//! use logcontext_metrics::{Exporter, Format};
//!
//! let service = Supervisor::new("presence");
//! let exporter = Exporter::new(&service);
//! let request = service.context("GET-1").kind(ContextKind::Request).label("GET /presence/{user}").start();
//! request.set_status(200);
//! request.finish();
//!
//! let text = exporter.render(Format::Prometheus);
//! let line = r#"logcontext_responses_total{label="GET /presence/{user}",status="2xx"} 1"#;
//! assert!(text.lines().any(|found| found == line));
//! ```
//!
//! `docs/operating.md` tells of each metric what it means and what to do when it moves.
//!
//! # What one can rely on
//!
//! - **Current, and never going down.** What is in flight is included: the CPU of a request counts while it runs,
//!   and also that of the slice it is in now. Such a slice is an estimate until it ends, and costs that are shared
//!   move from one label to others when a lookup ends; so each exporter keeps the highest value that it has shown of
//!   each counter, and never shows less. Ask one exporter, and clone it.
//! - **One set of numbers.** All that is said about contexts comes from one reading of the totals: the count of
//!   `logcontext_request_duration_seconds` is the sum of `logcontext_requests_total` by outcome, in every scrape.
//! - **What cannot be measured is absent**, never zero: CPU where threads have no clock, the process's memory
//!   elsewhere than on Linux, waits for connections where a pool cannot tell them from connecting.
//! - **Series are limited**: see [`Builder::label_limit`].
//! - **A scrape stops nobody.** It takes no lock that a request needs for longer than the core does. Scrapes may
//!   run side by side; they take turns where the totals are read, so that each has one set of numbers.
//!
//! A context whose label is not known yet is in the in-flight gauge, as `label="(none)"`, and in no counter: what it
//! has cost goes to its label's row once it has one.

mod encode;
mod exporter;
mod format;
mod own;
mod process;
mod sources;
mod supervised;
mod sync;

pub use exporter::{Builder, Exporter};
pub use format::Format;

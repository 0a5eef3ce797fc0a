//! Our JSON records beside stock ones: the same event, in a context with a request of the same fields.

use std::io;

use logcontext::{LogContext, Request};
use logcontext_tracing::LogLayer;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::layer::SubscriberExt;

use crate::Effort;
use crate::logging::{StockJson, record};
use crate::report::Report;
use crate::rounds::in_turn;
use crate::switches::repeat;

/// DESIGN: an eighth of stock inside a span.
const CEILING: f64 = 1.0 / 8.0;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(LogLayer::json(io::sink)));
    let request = Request::new("GET", "/presence/alice").client("127.0.0.1");
    let context = LogContext::builder("GET-17").label("GET /presence/{user}").request(request).start();
    let stock = StockJson::new();
    let [ours, stock] = in_turn(
        effort.of(1_000),
        100,
        [
            &mut |n| dispatcher::with_default(&dispatch, || context.scope(|| repeat(n, record))),
            &mut stock.writer(),
        ],
    );
    report.figure("log_json_ns", ours.spread());
    report.figure("stock_json_in_span_ns", stock.spread());
    report.bounded("log_json_over_stock", ours.zip(&stock, |ours, stock| ours / stock).spread(), CEILING);
}

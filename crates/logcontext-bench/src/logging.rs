//! What tracing's own spans and stock JSON records cost: what `log_json` is compared with.

use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tracing::{Dispatch, Instrument, Span, info, info_span};

use crate::Effort;
use crate::report::Report;
use crate::rounds::in_turn;
use crate::switches::repeat;

pub(crate) fn run(report: &mut Report, effort: Effort) {
    report.section("Log records and spans, in nanoseconds");
    spans(report, effort);
}

/// Entering a span, by hand and by a poll, where a formatting subscriber listens.
fn spans(report: &mut Report, effort: Effort) {
    let text = tracing_subscriber::fmt().with_writer(io::sink).finish();
    let [enter, poll] = tracing::subscriber::with_default(text, || {
        let span = request_span();
        let cx = &mut Context::from_waker(Waker::noop());
        let future = poll_fn(|_| {
            black_box(());
            Poll::<()>::Pending
        });
        let mut future = pin!(future.instrument(span.clone()));
        in_turn(
            effort.of(1_000),
            1_000,
            [&mut |n| repeat(n, || span.in_scope(|| black_box(()))), &mut |n| {
                repeat(n, || future.as_mut().poll(cx));
            }],
        )
    });
    report.figure("tracing_span_ns", enter.spread());
    report.figure("tracing_instrument_poll_ns", poll.spread());
}

/// A span as services have them to know a request's lines: four fields.
fn request_span() -> Span {
    info_span!(
        "request",
        request_id = "GET-17",
        method = "GET",
        path = "/presence/alice",
        client = "127.0.0.1"
    )
}

/// The record that is written: a message and two fields.
#[inline]
pub(crate) fn record() {
    info!(status = 200, devices = 2, "processed");
}

/// tracing-subscriber's JSON as it comes, into nothing.
pub(crate) struct StockJson {
    dispatch: Dispatch,
    span: Span,
}

impl StockJson {
    pub(crate) fn new() -> Self {
        let dispatch = Dispatch::new(tracing_subscriber::fmt().json().with_writer(io::sink).finish());
        let span = tracing::dispatcher::with_default(&dispatch, request_span);
        Self { dispatch, span }
    }

    /// Writes so many records inside the span.
    pub(crate) fn writer(&self) -> impl FnMut(u32) {
        |n| tracing::dispatcher::with_default(&self.dispatch, || self.span.in_scope(|| repeat(n, record)))
    }
}

//! Other layers work beside ours, and our formats in stock layers.

mod common;

use std::sync::{Arc, Mutex};

use common::{Kept, request};
use logcontext_tracing::{JsonFormat, LogLayer, TextFormat};
use tracing::span;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

/// A user's own layer: the span that each event is in.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Spans {
    fn on_enter(&self, id: &span::Id, context: Context<'_, S>) {
        self.0.lock().unwrap().push(format!("enter {}", context.span(id).unwrap().name()));
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event).map_or("none", |span| span.name());
        self.0.lock().unwrap().push(format!("{} in {span}", event.metadata().level()));
    }
}

#[test]
fn a_layer_of_spans_sees_its_spans_and_all_events_beside_ours() {
    let (kept, spans) = (Kept::default(), Spans::default());
    let writer = kept.clone();
    let ours = LogLayer::json(move || writer.clone());
    let ours = ours.with_filter(Targets::new().with_default(LevelFilter::INFO));
    let subscriber = tracing_subscriber::registry().with(spans.clone()).with(ours);
    tracing::subscriber::with_default(subscriber, || {
        request().scope(|| {
            tracing::info_span!("lookup", key = 1).in_scope(|| {
                tracing::info!("found");
                tracing::debug!("not for the log");
            });
        });
    });
    assert_eq!(*spans.0.lock().unwrap(), ["enter lookup", "INFO in lookup", "DEBUG in lookup"]);
    let records = kept.json();
    assert_eq!(records.len(), 1);
    assert_eq!((&records[0]["context"], records[0].get("key")), (&"PUT-17".into(), None));
}

#[test]
fn the_formats_are_the_same_in_a_stock_layer() {
    let [ours, stock] = [Kept::default(), Kept::default()];
    let writer = |kept: &Kept| {
        let kept = kept.clone();
        move || kept.clone()
    };
    let subscriber = tracing_subscriber::registry()
        .with(LogLayer::json(writer(&ours)))
        .with(tracing_subscriber::fmt::layer().event_format(JsonFormat::new()).with_writer(writer(&stock)));
    tracing::subscriber::with_default(subscriber, || request().scope(|| tracing::info!(a = "\"", "one")));
    let subscriber = tracing_subscriber::registry()
        .with(LogLayer::text(writer(&ours)))
        .with(tracing_subscriber::fmt::layer().event_format(TextFormat::new()).with_writer(writer(&stock)));
    tracing::subscriber::with_default(subscriber, || request().scope(|| tracing::info!(a = "\"", "two")));

    let mut json = [ours.lines(), stock.lines()].map(|lines| common::parse(&lines[0]));
    for record in &mut json {
        record.as_object_mut().unwrap().remove("timestamp");
    }
    assert_eq!(json[0], json[1]);
    let text = [ours.lines(), stock.lines()].map(|lines| lines[1].split_once(' ').unwrap().1.to_owned());
    assert_eq!(text[0], text[1]);
    assert!(text[0].starts_with("INFO PUT-17{req=7f3a} layers: two"), "{}", text[0]);
}

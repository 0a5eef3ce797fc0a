//! What the layer does when a span is made, entered, left and closed.

use std::sync::atomic::Ordering::Relaxed;

use logcontext::carried::{self, Carrier};
use logcontext::{LogContext, current_context};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::ContextSpans;
use super::fields::{Asks, ENTER, Said};
use super::root::{self, Root};

/// What a span carries: one of its extensions.
#[derive(Debug)]
struct Cargo {
    context: LogContext,
    /// It is to be entered inside other contexts as well.
    anywhere: bool,
    /// The context is the span's own.
    root: Option<Root>,
}

impl ContextSpans {
    fn carrier(&self, id: &Id) -> Carrier {
        Carrier { keeper: self.keeper, span: id.into_u64() }
    }

    fn start(&self, attributes: &Attributes<'_>, metadata: &Metadata<'_>) -> (LogContext, Root) {
        let mut said = Said::new(&self.config);
        attributes.record(&mut said);
        root::start(&self.config, metadata, &said, || self.next.fetch_add(1, Relaxed))
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for ContextSpans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, spans: Context<'_, S>) {
        let metadata = attributes.metadata();
        let Some(span) = spans.span(id) else { return };
        // Another layer like this one was first.
        if span.extensions().get::<Cargo>().is_some() {
            return;
        }
        let mut context = current_context();
        if context.is_sentinel()
            && let Some(parent) = span.parent()
            && let Some(cargo) = parent.extensions().get::<Cargo>()
        {
            context = cargo.context.clone();
        }
        let mut root = None;
        if context.is_sentinel() {
            if !self.config.may_be_root(metadata) {
                return;
            }
            let (started, its) = self.start(attributes, metadata);
            (context, root) = (started, Some(its));
        }
        let mut asks = Asks::default();
        if metadata.fields().field(ENTER).is_some() {
            attributes.record(&mut asks);
            if asks.0 {
                self.asked.store(true, Relaxed);
            }
        }
        span.extensions_mut().insert(Cargo { context, anywhere: asks.0, root });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, spans: Context<'_, S>) {
        let Some(span) = spans.span(id) else { return };
        if span.extensions().get().is_none_or(|cargo: &Cargo| cargo.root.is_none()) {
            return;
        }
        // Out of the span's lock: the values print themselves, and may do anything.
        let mut said = Said::new(&self.config);
        values.record(&mut said);
        if let Some(Cargo { context, root: Some(root), .. }) = span.extensions().get() {
            root::update(context, root, &said);
        }
    }

    fn on_enter(&self, id: &Id, spans: Context<'_, S>) {
        let carrier = self.carrier(id);
        if carried::enter_again(carrier) || !(carried::is_in_sentinel() || self.asked.load(Relaxed)) {
            return;
        }
        let Some(span) = spans.span(id) else { return };
        // Out of the span's lock: entering may log, and other layers may want to write to the span then.
        let cargo = span.extensions().get().map(|cargo: &Cargo| (cargo.context.clone(), cargo.anywhere));
        if let Some((context, anywhere)) = cargo {
            carried::enter(carrier, context, anywhere, span.metadata());
        }
    }

    fn on_exit(&self, id: &Id, _: Context<'_, S>) {
        carried::exit(self.carrier(id));
    }

    fn on_close(&self, id: Id, spans: Context<'_, S>) {
        // A span's handle may be gone before it is left.
        carried::close(self.carrier(&id));
        let Some(span) = spans.span(&id) else { return };
        let cargo = span.extensions_mut().remove::<Cargo>();
        if let Some(Cargo { context, root: Some(root), .. }) = cargo {
            root::finish(&context, &root, &self.config);
        }
    }
}

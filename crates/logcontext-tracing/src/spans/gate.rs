use std::sync::Arc;

use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;

use super::config::Config;

/// The filter of a log, in front of all: with the spans that may become contexts, whatever it says of them. What a
/// log shows is one thing, what is accounted for another.
#[derive(Debug)]
pub(crate) struct Gate {
    filter: Targets,
    spans: Option<Arc<Config>>,
}

impl Gate {
    pub(super) fn new(filter: Targets, spans: Option<Arc<Config>>) -> Self {
        Self { filter, spans }
    }

    fn is_wanted(&self, metadata: &Metadata<'_>) -> bool {
        let Some(config) = &self.spans else { return false };
        metadata.is_span() && *metadata.level() <= config.lowest_level() && config.may_be_root(metadata)
    }
}

impl From<Targets> for Gate {
    fn from(filter: Targets) -> Self {
        Self::new(filter, None)
    }
}

impl<S: Subscriber> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.is_wanted(metadata) {
            return Interest::always();
        }
        Layer::<S>::register_callsite(&self.filter, metadata)
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.is_wanted(metadata) || self.filter.enabled(metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        let hint = Layer::<S>::max_level_hint(&self.filter)?;
        let lowest = self.spans.as_ref().map(|config| LevelFilter::from_level(config.lowest_level()));
        Some(lowest.map_or(hint, |lowest| hint.max(lowest)))
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::Registry;

    use super::*;
    use crate::ContextSpans;

    #[test]
    fn levels_are_let_through_as_far_down_as_spans_may_become_contexts() {
        let hint = |gate: Gate| Layer::<Registry>::max_level_hint(&gate).unwrap();
        let filter = || Targets::new().with_default(LevelFilter::WARN);
        assert_eq!(hint(Gate::from(filter())), LevelFilter::WARN);
        assert_eq!(hint(ContextSpans::new().gate(filter())), LevelFilter::DEBUG);
        assert_eq!(hint(ContextSpans::new().roots(|_| false).gate(filter())), LevelFilter::TRACE);
        assert_eq!(hint(ContextSpans::new().carry_only().gate(filter())), LevelFilter::WARN);
        let all = Targets::new().with_default(LevelFilter::TRACE);
        assert_eq!(hint(ContextSpans::new().gate(all)), LevelFilter::TRACE);
    }
}

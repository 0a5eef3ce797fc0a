use std::fmt;

use logcontext::Supervisor;
use tracing::{Level, Metadata};

use super::fields::{self, SpanField};

/// Which root spans become contexts.
#[derive(Default)]
pub(super) enum Roots {
    #[default]
    Usual,
    None,
    Rule(Box<dyn Fn(&Metadata<'_>) -> bool + Send + Sync>),
}

/// What was chosen.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) roots: Roots,
    pub(super) fields: Vec<(Box<str>, SpanField)>,
    pub(super) supervisor: Option<Supervisor>,
    pub(super) log_costs: bool,
}

impl Config {
    /// Does such a span become a context, if it is a root?
    pub(super) fn may_be_root(&self, metadata: &Metadata<'_>) -> bool {
        match &self.roots {
            Roots::Usual => *metadata.level() <= Level::INFO || self.is_request(metadata),
            Roots::None => false,
            Roots::Rule(rule) => rule(metadata),
        }
    }

    /// No span below this level becomes a context.
    pub(super) fn lowest_level(&self) -> Level {
        match &self.roots {
            // tower-http's `request` is there; what is further down nobody means to keep on.
            Roots::Usual => Level::DEBUG,
            Roots::None => Level::ERROR,
            Roots::Rule(_) => Level::TRACE,
        }
    }

    /// What a field of this name says.
    pub(super) fn says(&self, name: &str) -> Option<SpanField> {
        let chosen = self.fields.iter().find(|(field, _)| **field == *name);
        chosen.map(|(_, says)| *says).or_else(|| fields::usual(name))
    }

    fn is_request(&self, metadata: &Metadata<'_>) -> bool {
        let has = |name: &str| metadata.fields().field(name).is_some();
        fields::has_method(metadata)
            || self.fields.iter().any(|(name, says)| *says == SpanField::Method && has(name))
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usual => "Usual",
            Self::None => "None",
            Self::Rule(_) => "Rule",
        })
    }
}

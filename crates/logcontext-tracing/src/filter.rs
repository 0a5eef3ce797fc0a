//! Filters as people write them: `info,hyper=warn`.

use std::fmt;

use tracing_subscriber::filter::{LevelFilter, Targets};

/// A part of a filter that means nothing.
///
/// ```
/// let error = logcontext_tracing::builder().filter("info,hyper=loud").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     r#"log filter "info,hyper=loud": "loud" is no level (off, error, warn, info, debug, trace)"#
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    filter: String,
    problem: String,
}

impl FilterError {
    /// The filter it is in.
    pub fn filter(&self) -> &str {
        &self.filter
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log filter {:?}: {}", self.filter, self.problem)
    }
}

impl std::error::Error for FilterError {}

/// A level for all, `target=level` for what begins with that target, several of them with commas between.
/// Unlike tracing-subscriber's own parser it takes no bare target: `inof` would be one.
pub(crate) fn parse(filter: &str) -> Result<Targets, FilterError> {
    let problem = |problem| FilterError { filter: filter.to_owned(), problem };
    let mut targets = Targets::new();
    for part in filter.split(',').map(str::trim) {
        targets = match part.split_once('=') {
            None => targets.with_default(level(part).map_err(|error| {
                problem(if is_target(part) {
                    format!("{error}; to name a target, write \"{part}=debug\"")
                } else {
                    error
                })
            })?),
            Some((target, text)) => {
                let (target, text) = (target.trim(), text.trim());
                if !is_target(target) {
                    return Err(problem(format!(
                        "{target:?} is no target: spans and fields cannot be named"
                    )));
                }
                targets.with_target(target, level(text).map_err(problem)?)
            }
        };
    }
    Ok(targets)
}

fn level(text: &str) -> Result<LevelFilter, String> {
    let level = ["off", "error", "warn", "info", "debug", "trace"]
        .iter()
        .zip([
            LevelFilter::OFF,
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
            LevelFilter::TRACE,
        ])
        .find(|(name, _)| text.eq_ignore_ascii_case(name));
    level
        .map(|(_, level)| level)
        .ok_or_else(|| format!("{text:?} is no level (off, error, warn, info, debug, trace)"))
}

fn is_target(text: &str) -> bool {
    !text.is_empty() && !text.contains(|ch: char| ch.is_whitespace() || "[]{}=\"".contains(ch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn a_filter_has_a_level_for_all_and_some_for_targets() {
        let filter = parse(" INFO , hyper=warn,presence::db = Trace,quiet=off").unwrap();
        assert!(filter.would_enable("presence", &Level::INFO));
        assert!(!filter.would_enable("presence", &Level::DEBUG));
        assert!(filter.would_enable("hyper::proto", &Level::WARN));
        assert!(!filter.would_enable("hyper::proto", &Level::INFO));
        assert!(filter.would_enable("presence::db", &Level::TRACE));
        assert!(!filter.would_enable("quiet", &Level::ERROR));
    }

    #[test]
    fn an_error_names_the_part_that_is_wrong() {
        let problem = |filter: &str| parse(filter).unwrap_err().problem;
        let levels = "is no level (off, error, warn, info, debug, trace)";
        assert_eq!(problem("inof"), format!("\"inof\" {levels}; to name a target, write \"inof=debug\""));
        assert_eq!(problem("info,"), format!("\"\" {levels}"));
        assert_eq!(problem(""), format!("\"\" {levels}"));
        assert_eq!(problem("hyper=warn,h2="), format!("\"\" {levels}"));
        assert_eq!(problem("a=b=info"), format!("\"b=info\" {levels}"));
        let spans = "is no target: spans and fields cannot be named";
        assert_eq!(problem("my[span]=info"), format!("\"my[span]\" {spans}"));
        assert_eq!(problem("=info"), format!("\"\" {spans}"));
    }
}

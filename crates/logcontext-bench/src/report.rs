//! What was found: for people on stderr as it comes, for machines as JSON at the end.

use serde_json::{Map, Value, json};

use crate::stats::Spread;

#[derive(Default)]
pub(crate) struct Report {
    figures: Map<String, Value>,
    missed: Vec<String>,
}

impl Report {
    pub(crate) fn section(&mut self, title: &str) {
        eprintln!("\n{title}");
        eprintln!("  {:<38} {:>10}   {:>10} .. {:<10}  ceiling", "", "median", "min", "max");
    }

    /// A figure without a ceiling.
    pub(crate) fn figure(&mut self, key: &str, spread: Spread) {
        self.line(key, spread, None);
        self.put(key, rounded(spread.median));
    }

    /// A figure that is to stay at or below its ceiling, whichever its sign.
    pub(crate) fn bounded(&mut self, key: &str, spread: Spread, ceiling: f64) {
        self.line(key, spread, Some(ceiling));
        self.put(key, rounded(spread.median));
    }

    /// The same, shown only: the caller puts it where it belongs.
    pub(crate) fn line(&mut self, key: &str, spread: Spread, ceiling: Option<f64>) {
        let Spread { min, median, max } = spread;
        let ceiling = ceiling.map_or(String::new(), |ceiling| {
            let met = median.abs() <= ceiling;
            if !met {
                self.missed.push(key.to_owned());
            }
            format!("{} {}", short(ceiling), if met { "met" } else { "MISSED" })
        });
        let (min, median, max) = (short(min), short(median), short(max));
        eprintln!("  {key:<38} {median:>10}   {min:>10} .. {max:<10}  {ceiling}");
    }

    /// A figure that was shown already is to be at least this.
    pub(crate) fn at_least(&mut self, key: &str, value: f64, floor: f64) {
        let met = value >= floor;
        if !met {
            self.missed.push(key.to_owned());
        }
        let (value, floor) = (short(value), short(floor));
        eprintln!("  {key:<38} {value:>10}   at least {floor} {}", if met { "met" } else { "MISSED" });
    }

    pub(crate) fn note(&self, text: &str) {
        eprintln!("  {text}");
    }

    pub(crate) fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.figures.insert(key.to_owned(), value.into());
    }

    pub(crate) fn into_json(mut self) -> Value {
        match &self.missed[..] {
            [] => eprintln!("\nall ceilings met"),
            missed => eprintln!("\nmissed: {}", missed.join(", ")),
        }
        self.figures.insert("missed".to_owned(), json!(self.missed));
        Value::Object(self.figures)
    }
}

fn short(value: f64) -> String {
    if value.abs() < 1.0 { format!("{value:.3}") } else { format!("{value:.2}") }
}

/// To three decimals: more is noise.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_ceiling_is_listed_whichever_its_sign() {
        let spread = |median| Spread { min: -9.0, median, max: 9.0 };
        let mut report = Report::default();
        report.bounded("met", spread(1.0), 1.0);
        report.bounded("above", spread(1.1), 1.0);
        report.bounded("below", spread(-1.1236), 1.0);
        let json = report.into_json();
        assert_eq!(json, json!({"met": 1.0, "above": 1.1, "below": -1.124, "missed": ["above", "below"]}));
    }
}

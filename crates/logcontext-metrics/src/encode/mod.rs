//! The two formats as text. They differ in little: what a counter's family is called, how help is escaped, whether
//! there are units, how a bound is written, and in an end that says that nothing is cut off.

mod escape;
mod number;

use std::fmt::Write as _;

use crate::format::Format;

pub(crate) use escape::push_label;

/// What kind of figures a family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A number to write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Count(u64),
    /// Nanoseconds, written as seconds with all their digits.
    Nanos(u64),
    Float(f64),
}

/// How observations are spread: `counts` has one place more than `bounds`, for what is beyond the last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Spread {
    pub(crate) bounds: Vec<f64>,
    pub(crate) counts: Vec<u64>,
    pub(crate) nanos: u64,
}

/// A whole exposition, in the making.
pub(crate) struct Text {
    format: Format,
    out: String,
}

/// The family whose samples are being written.
pub(crate) struct Family<'a> {
    text: &'a mut Text,
    name: &'a str,
    help: &'a str,
    kind: Kind,
    has_head: bool,
}

impl Text {
    pub(crate) fn new(format: Format, capacity: usize) -> Self {
        Self { format, out: String::with_capacity(capacity) }
    }

    /// Begins a family; `name` is without `_total`. One without samples is not written at all.
    pub(crate) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &'a str) -> Family<'a> {
        Family { text: self, name, help, kind, has_head: false }
    }

    /// A family with one sample and no labels; none if there is no value.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.family(name, kind, help).sample("", value);
        }
    }

    pub(crate) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }
}

impl Family<'_> {
    /// One sample of a counter or gauge. `labels` are pairs as [`push_label`] makes them.
    pub(crate) fn sample(&mut self, labels: &str, value: Value) {
        self.sample_by(labels, None, value);
    }

    /// The same with one label more, whose value needs no escaping.
    pub(crate) fn sample_by(&mut self, labels: &str, one_more: Option<(&str, &str)>, value: Value) {
        self.head();
        let suffix = if self.kind == Kind::Counter { "_total" } else { "" };
        self.line(suffix, labels, one_more, value);
    }

    /// One series of a histogram.
    pub(crate) fn histogram(&mut self, labels: &str, spread: &Spread) {
        self.head();
        let mut sum = 0_u64;
        let mut bound = String::with_capacity(16);
        for (i, count) in spread.counts.iter().enumerate() {
            sum = sum.saturating_add(*count);
            bound.clear();
            let at_most = spread.bounds.get(i).copied().unwrap_or(f64::INFINITY);
            number::push_bound(&mut bound, at_most, self.text.format);
            self.line("_bucket", labels, Some(("le", &bound)), Value::Count(sum));
        }
        self.line("_sum", labels, None, Value::Nanos(spread.nanos));
        self.line("_count", labels, None, Value::Count(sum));
    }

    fn line(&mut self, suffix: &str, labels: &str, one_more: Option<(&str, &str)>, value: Value) {
        let out = &mut self.text.out;
        out.push_str(self.name);
        out.push_str(suffix);
        if !labels.is_empty() || one_more.is_some() {
            out.push('{');
            out.push_str(labels);
            if let Some((name, value)) = one_more {
                if !labels.is_empty() {
                    out.push(',');
                }
                out.push_str(name);
                out.push_str("=\"");
                out.push_str(value);
                out.push('"');
            }
            out.push('}');
        }
        out.push(' ');
        number::push(out, value);
        out.push('\n');
    }

    fn head(&mut self) {
        if std::mem::replace(&mut self.has_head, true) {
            return;
        }
        // Prometheus calls a counter's family what its samples are called, OpenMetrics what it counts.
        let suffix = match (self.text.format, self.kind) {
            (Format::Prometheus, Kind::Counter) => "_total",
            _ => "",
        };
        let (name, kind, out) = (self.name, self.kind.name(), &mut self.text.out);
        let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
        if self.text.format == Format::OpenMetrics
            && let Some(unit) = unit(name)
        {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        let _ = write!(out, "# HELP {name}{suffix} ");
        escape::push_help(out, self.help, self.text.format);
        out.push('\n');
    }
}

/// Names have their unit at the end.
fn unit(name: &str) -> Option<&'static str> {
    ["seconds", "bytes"]
        .into_iter()
        .find(|unit| name.strip_suffix(unit).is_some_and(|before| before.len() > 1 && before.ends_with('_')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(write: impl Fn(&mut Text)) -> [String; 2] {
        [Format::Prometheus, Format::OpenMetrics].map(|format| {
            let mut text = Text::new(format, 0);
            write(&mut text);
            text.finish()
        })
    }

    #[test]
    fn a_counter_is_named_by_the_rules_of_each_format() {
        let [prometheus, open] = both(|text| {
            text.family("cpu_seconds", Kind::Counter, "CPU \"time\".").sample("a=\"1\"", Value::Nanos(1));
        });
        assert_eq!(
            prometheus,
            "# TYPE cpu_seconds_total counter\n# HELP cpu_seconds_total CPU \"time\".\n\
             cpu_seconds_total{a=\"1\"} 0.000000001\n"
        );
        assert_eq!(
            open,
            "# TYPE cpu_seconds counter\n# UNIT cpu_seconds seconds\n# HELP cpu_seconds CPU \\\"time\\\".\n\
             cpu_seconds_total{a=\"1\"} 0.000000001\n# EOF\n"
        );
    }

    #[test]
    fn buckets_are_cumulative_and_their_bounds_canonical() {
        let [prometheus, open] = both(|text| {
            let spread = Spread { bounds: vec![0.5, 1.0], counts: vec![2, 0, 3], nanos: 1_500_000_000 };
            text.family("waits", Kind::Histogram, "").histogram("", &spread);
        });
        for (text, one) in [(&prometheus, "1"), (&open, "1.0")] {
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            let bucket = format!("waits_bucket{{le=\"{one}\"}} 2");
            assert_eq!(
                lines,
                [
                    "waits_bucket{le=\"0.5\"} 2",
                    &bucket,
                    "waits_bucket{le=\"+Inf\"} 5",
                    "waits_sum 1.5",
                    "waits_count 5"
                ]
            );
        }
    }

    #[test]
    fn a_family_without_samples_is_not_there() {
        let [prometheus, open] = both(|text| {
            let _ = text.family("nothing", Kind::Gauge, "Nothing.");
            text.single("nothing", Kind::Gauge, "Nothing.", None);
        });
        assert_eq!((&*prometheus, &*open), ("", "# EOF\n"));
    }
}

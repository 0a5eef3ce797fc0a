//! Numbers as both formats read them.

use std::fmt::Write as _;

use super::Value;
use crate::format::Format;

const NANOS: u64 = 1_000_000_000;

pub(super) fn push(out: &mut String, value: Value) {
    match value {
        Value::Count(n) => {
            let _ = write!(out, "{n}");
        }
        Value::Nanos(nanos) => {
            let _ = write!(out, "{}", nanos / NANOS);
            let fraction = nanos % NANOS;
            if fraction > 0 {
                let _ = write!(out, ".{fraction:09}");
                out.truncate(out.trim_end_matches('0').len());
            }
        }
        Value::Float(value) => push_float(out, value),
    }
}

/// The upper bound of a bucket. OpenMetrics wants its whole numbers to look like what they are, floats.
pub(super) fn push_bound(out: &mut String, bound: f64, format: Format) {
    let start = out.len();
    push_float(out, bound);
    if format == Format::OpenMetrics && out[start..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        out.push_str(".0");
    }
}

/// The shortest text that is read back as the same number.
fn push_float(out: &mut String, value: f64) {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let _ = if value.is_nan() {
        write!(out, "NaN")
    } else if value.is_infinite() {
        write!(out, "{}", if value > 0.0 { "+Inf" } else { "-Inf" })
    } else if value.abs() < EXACT && value == value.trunc() {
        write!(out, "{}", value as i64)
    } else {
        // With an exponent where that is shorter.
        write!(out, "{value:?}")
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Value) -> String {
        let mut out = String::new();
        push(&mut out, value);
        out
    }

    #[test]
    fn times_keep_all_their_digits() {
        for (nanos, text) in [
            (0, "0"),
            (1, "0.000000001"),
            (1_500_000_000, "1.5"),
            (10_000_000_000, "10"),
            (u64::MAX, "18446744073.709551615"),
        ] {
            assert_eq!(written(Value::Nanos(nanos)), text);
        }
    }

    #[test]
    fn floats_are_short_and_whole_ones_are_whole() {
        for (value, text) in [
            (0.0, "0"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1e300, "1e300"),
            (2.5e-9, "2.5e-9"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(Value::Float(value)), text);
        }
    }

    #[test]
    fn a_bound_is_the_same_number_in_both_formats() {
        for (bound, prometheus, open) in
            [(1.0, "1", "1.0"), (0.0001, "0.0001", "0.0001"), (10.0, "10", "10.0")]
        {
            let text = |format| {
                let mut out = "le=\"".to_owned();
                push_bound(&mut out, bound, format);
                out.split_off(4)
            };
            assert_eq!((&*text(Format::Prometheus), &*text(Format::OpenMetrics)), (prometheus, open));
        }
    }
}

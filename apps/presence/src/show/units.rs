//! Numbers for people.

use std::time::Duration;

/// `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12.3 ms`: three digits and the unit that fits.
pub(crate) fn time(time: Duration) -> String {
    let micros = time.as_nanos() as f64 / 1e3;
    if time.is_zero() {
        "0".to_owned()
    } else if micros < 999.5 {
        digits(micros, "µs")
    } else if micros < 999.5e3 {
        digits(micros / 1e3, "ms")
    } else {
        digits(micros / 1e6, "s")
    }
}

/// `12.34 %`.
pub(crate) fn percent(part: Duration, whole: Duration) -> String {
    format!("{:.2} %", if whole.is_zero() { 0.0 } else { part.as_secs_f64() / whole.as_secs_f64() * 100.0 })
}

/// `1.25`: so many for each; none at all is `0`, and from a hundred on there are no fractions.
pub(crate) fn ratio(n: u64, each: u64) -> String {
    let ratio = n as f64 / each.max(1) as f64;
    match n {
        0 => "0".to_owned(),
        _ if ratio < 99.5 => format!("{ratio:.2}"),
        _ => format!("{ratio:.0}"),
    }
}

fn digits(value: f64, unit: &str) -> String {
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let times = [0, 90, 1_234, 999_600, 12_345_000, 100_200_000, 61_000_000_000];
        let shown = times.map(|nanos| time(Duration::from_nanos(nanos)));
        assert_eq!(shown, ["0", "0.09 µs", "1.23 µs", "1.00 ms", "12.3 ms", "100 ms", "61.0 s"]);
        assert_eq!(percent(Duration::from_secs(1), Duration::from_secs(8)), "12.50 %");
        assert_eq!(percent(Duration::ZERO, Duration::ZERO), "0.00 %");
        let ratios = [ratio(0, 5), ratio(5, 4), ratio(1, 0), ratio(99_499, 1_000), ratio(995, 10)];
        assert_eq!(ratios, ["0", "1.25", "1.00", "99.50", "100"]);
    }
}

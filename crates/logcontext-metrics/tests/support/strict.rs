//! What must hold for families and their samples.

use std::collections::HashSet;

use logcontext_metrics::Format;

use super::parse::{Family, Labels, Sample, number};

pub fn check(families: &[Family], format: Format) -> Result<(), String> {
    let mut taken = HashSet::new();
    for family in families {
        check_family(family, format).map_err(|error| format!("{}: {error}", family.name))?;
        // What the family's samples are called must be no other family's name.
        let base = family.name.strip_suffix("_total").unwrap_or(&family.name);
        for suffix in match &*family.kind {
            "counter" => &["", "_total", "_created"][..],
            "histogram" => &["", "_bucket", "_count", "_sum", "_created"],
            _ => &[""],
        } {
            if !taken.insert(format!("{base}{suffix}")) {
                return Err(format!("{base}{suffix} is two families'"));
            }
        }
    }
    Ok(())
}

fn check_family(family: &Family, format: Format) -> Result<(), String> {
    if family.samples.is_empty() {
        return Err("no samples".to_owned());
    }
    if family.help.as_ref().is_none_or(|help| help.is_empty()) {
        return Err("no help".to_owned());
    }
    if !is_name(&family.name) {
        return Err("no name that can be used".to_owned());
    }
    if let Some(unit) = &family.unit
        && !family.name.ends_with(&format!("_{unit}"))
    {
        return Err(format!("the unit {unit} is not in the name"));
    }
    if format == Format::OpenMetrics && family.name.ends_with("_seconds") && family.unit.is_none() {
        return Err("no unit".to_owned());
    }
    let mut seen = HashSet::new();
    for sample in &family.samples {
        if !seen.insert((&sample.name, &sample.labels)) {
            return Err(format!("twice: {sample:?}"));
        }
        for name in sample.labels.keys() {
            if !is_name(name) || name.starts_with("__") {
                return Err(format!("label {name}"));
            }
        }
    }
    match &*family.kind {
        "counter" => check_counter(family, format),
        "gauge" => check_names(family, &family.name),
        "histogram" => check_histogram(family, format),
        other => Err(format!("no such type: {other}")),
    }
}

fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit())
}

fn check_names(family: &Family, name: &str) -> Result<(), String> {
    match family.samples.iter().find(|sample| sample.name != name) {
        Some(sample) => Err(format!("a sample called {}", sample.name)),
        None => Ok(()),
    }
}

fn check_counter(family: &Family, format: Format) -> Result<(), String> {
    let has_total = family.name.ends_with("_total");
    if has_total != (format == Format::Prometheus) {
        return Err("a counter's family is named otherwise in this format".to_owned());
    }
    let total = if has_total { family.name.clone() } else { format!("{}_total", family.name) };
    check_names(family, &total)?;
    match family.samples.iter().find(|sample| !(sample.value >= 0.0 && sample.value.is_finite())) {
        Some(sample) => Err(format!("a counter of {}", sample.value)),
        None => Ok(()),
    }
}

/// Each series: its buckets in order, then sum and count.
fn check_histogram(family: &Family, format: Format) -> Result<(), String> {
    let mut samples = family.samples.iter().peekable();
    let named = |suffix: &str| format!("{}{suffix}", family.name);
    while let Some(first) = samples.peek() {
        let series = without_le(first);
        let (mut bound, mut count) = (f64::NEG_INFINITY, 0.0);
        while let Some(sample) = samples.next_if(|sample| sample.name == named("_bucket")) {
            let le = sample.labels.get("le").ok_or("a bucket without a bound")?;
            if format == Format::OpenMetrics && le != "+Inf" && !le.contains(['.', 'e']) {
                return Err(format!("the bound {le} does not look like a float"));
            }
            let le = number(le)?;
            if without_le(sample) != series || le <= bound || sample.value < count {
                return Err(format!("buckets out of order: {sample:?}"));
            }
            (bound, count) = (le, sample.value);
        }
        if bound != f64::INFINITY {
            return Err(format!("no last bucket: {series:?}"));
        }
        let mut next =
            |suffix| samples.next_if(|sample| sample.name == named(suffix) && sample.labels == series);
        let sum = next("_sum").ok_or("no sum")?;
        let total = next("_count").ok_or("no count")?;
        if total.value != count || sum.value.is_nan() || sum.value < 0.0 || (count == 0.0 && sum.value != 0.0)
        {
            return Err(format!("{count} in buckets, {} in all, {} s", total.value, sum.value));
        }
    }
    Ok(())
}

fn without_le(sample: &Sample) -> Labels {
    let mut labels = sample.labels.clone();
    labels.remove("le");
    labels
}

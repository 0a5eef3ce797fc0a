//! The documents name what exists, and all of it.

mod support;

use std::collections::BTreeSet;

use support::queries::{Query, exprs_of_alerts, queries_of};
use support::service::Service;
use support::{Exposition, FORMATS, on_both, scrape};

use logcontext_metrics::Exporter;

const OPERATING: &str = include_str!("../../../docs/operating.md");
const DASHBOARD: &str = include_str!("../../../docs/grafana/logcontext.json");
const ALERTS: &str = include_str!("../../../docs/prometheus/alerts.yml");

/// Absent where the system sets no limit, as on most.
const LIMITS: [&str; 2] = ["process_virtual_memory_max_bytes", "process_max_fds"];

fn of_a_service(check: impl Fn(&Exposition)) {
    on_both(|runtime, test| {
        let exporter = Exporter::new(test.supervisor());
        let service = Service::run(runtime, test);
        for format in FORMATS {
            check(&scrape(&exporter, format));
        }
        service.stop(runtime, test);
    });
}

/// Metrics as people call them: a histogram by its family.
fn metrics(found: &Exposition) -> BTreeSet<String> {
    let name = |family: &support::Family| match &*family.kind {
        "counter" => format!("{}_total", family.name.trim_end_matches("_total")),
        _ => family.name.clone(),
    };
    found.families.iter().map(name).collect()
}

/// What is set as code in a document, and looks like a metric.
fn named_in(document: &str) -> BTreeSet<String> {
    let starts = ["logcontext_", "process_", "db_", "cache_", "keyed_queue_", "log_", "bus_", "outbox_"];
    let code = document.split('`').skip(1).step_by(2);
    let names = code.map(|code| code.split('{').next().unwrap_or_default());
    names
        .filter(|name| starts.iter().any(|start| name.starts_with(start)))
        .filter(|name| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_is_explained_and_every_explained_metric_exists() {
    of_a_service(|found| {
        let (explained, exist) = (named_in(OPERATING), metrics(found));
        let missing: Vec<_> = exist.difference(&explained).collect();
        assert!(missing.is_empty(), "not in operating.md: {missing:#?}");
        let made_up: Vec<_> =
            explained.difference(&exist).filter(|name| !LIMITS.contains(&&***name)).collect();
        assert!(made_up.is_empty(), "only in operating.md: {made_up:#?}");
    });
}

#[test]
fn labels_that_are_explained_are_those_of_the_metric() {
    of_a_service(|found| {
        let code = OPERATING.split('`').skip(1).step_by(2).filter(|code| !code.contains(['/', '(']));
        for code in code.filter(|code| code.ends_with('}')) {
            let (name, labels) = code.trim_end_matches('}').split_once('{').unwrap();
            let labels: BTreeSet<&str> =
                labels.split(',').map(|pair| pair.split('=').next().unwrap()).collect();
            let base = |sample: &str| sample.trim_end_matches("_bucket").to_owned();
            let samples = found.families.iter().flat_map(|family| &family.samples);
            let mut of_it = samples.filter(|sample| base(&sample.name) == name).peekable();
            assert!(of_it.peek().is_some() || LIMITS.contains(&name), "{code}");
            for sample in of_it {
                let has: BTreeSet<&str> =
                    sample.labels.keys().map(String::as_str).filter(|label| *label != "le").collect();
                assert_eq!(has, labels, "{code}");
            }
        }
    });
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_exists() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).expect("the dashboard is JSON");
    let mut queries = queries_of(&dashboard);
    assert!(queries.len() > 30, "{}", queries.len());
    let alerts = exprs_of_alerts(ALERTS);
    assert!(alerts.len() > 5, "{}", alerts.len());
    queries.extend(alerts.into_iter().map(|(_, query)| query));
    of_a_service(|found| {
        let names = found.names();
        for query in &queries {
            let Query { text, metrics, labels } = query;
            assert!(!metrics.is_empty(), "{text}");
            for metric in metrics {
                assert!(
                    names.contains(metric) || LIMITS.contains(&&**metric),
                    "no {metric}, asked for in {text}"
                );
            }
            // Those that a scraper adds.
            for label in labels.iter().filter(|label| !["job", "instance"].contains(&&***label)) {
                let has =
                    |metric: &String| found.samples(metric).any(|sample| sample.labels.contains_key(label));
                assert!(metrics.iter().any(has), "no label {label}, asked for in {text}");
            }
        }
    });
}

#[test]
fn every_alert_is_explained() {
    for (alert, _) in exprs_of_alerts(ALERTS) {
        assert!(OPERATING.contains(&format!("`{alert}`")), "{alert}");
    }
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    assert!(dashboard["schemaVersion"].as_u64() >= Some(38), "Grafana 10");
    assert!(dashboard["title"].is_string() && dashboard["uid"].is_string() && dashboard["id"].is_null());
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids: Vec<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let place = &panel["gridPos"];
        assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24, "{title}");
        if panel["type"] != "row" {
            assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has a unit");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        }
    }
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
}

#[test]
fn queries_are_read_with_all_metrics_and_labels() {
    // The readers of queries themselves: what they do not find they cannot check.
    let query = Query::parse(
        r#"histogram_quantile(0.9, sum by (le, label) (rate(a_seconds_bucket{x=~"$x", y!="b_c{"}[5m]))) / on (z) group_left sum without (q) (b_total offset 5m) > bool 1e3"#,
    );
    assert_eq!(query.metrics, ["a_seconds_bucket", "b_total"]);
    assert_eq!(query.labels, ["label", "le", "q", "x", "y", "z"]);
}

//! What Prometheus's own checker says.

mod support;

use logcontext_metrics::{Exporter, Format};
use logcontext_testservers::Promtool;
use support::on_both;
use support::queries::{exprs_of_alerts, queries_of};
use support::service::Service;

const ALERTS: &str = include_str!("../../../docs/prometheus/alerts.yml");
const DASHBOARD: &str = include_str!("../../../docs/grafana/logcontext.json");

#[test]
#[ignore = "needs promtool: cargo xtask test"]
fn promtool_finds_nothing() {
    let promtool = Promtool::find().unwrap();
    on_both(|runtime, test| {
        let exporter = Exporter::new(test.supervisor());
        let service = Service::run(runtime, test);
        let text = exporter.render(Format::Prometheus);
        assert_eq!(promtool.check_metrics(&text), Ok(()), "{text}");
        service.stop(runtime, test);
    });
}

#[test]
#[ignore = "needs promtool: cargo xtask test"]
fn promtool_finds_what_is_wrong() {
    let promtool = Promtool::find().unwrap();
    for (wrong, word) in [
        ("# HELP a_ms Time.\n# TYPE a_ms counter\na_ms 1\n", "_total"),
        ("# TYPE a gauge\na 1\na 1\n", "a"),
        ("a{ 1\n", "error"),
    ] {
        let said = promtool.check_metrics(wrong).unwrap_err();
        assert!(said.contains(word), "{wrong}: {said}");
    }
}

#[test]
#[ignore = "needs promtool: cargo xtask test"]
fn promtool_reads_the_alerts_and_the_queries_of_the_dashboard() {
    let promtool = Promtool::find().unwrap();
    assert_eq!(promtool.check_rules(ALERTS), Ok(exprs_of_alerts(ALERTS).len()));

    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let queries = queries_of(&dashboard);
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (i, query) in queries.iter().enumerate() {
        let text = query.text.replace("$__rate_interval", "5m").replace("$__range", "1h");
        rules.push_str(&format!("  - record: query_{i}\n    expr: {}\n", serde_json::Value::from(text)));
    }
    assert_eq!(promtool.check_rules(&rules), Ok(queries.len()), "{rules}");
    assert!(promtool.check_rules(&rules.replacen("sum", "sum((", 1)).is_err());
}

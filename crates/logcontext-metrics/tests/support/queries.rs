//! Which metrics and labels a query asks for.

use serde_json::Value;

/// One query, with its metrics in the order in which they come and its labels sorted.
#[derive(Debug, PartialEq)]
pub struct Query {
    pub text: String,
    pub metrics: Vec<String>,
    pub labels: Vec<String>,
}

/// Words of the language that are followed by a list of labels.
const BEFORE_LABELS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 6] = ["and", "or", "unless", "offset", "bool", "inf"];

impl Query {
    pub fn parse(text: &str) -> Self {
        let mut query = Self { text: text.to_owned(), metrics: Vec::new(), labels: Vec::new() };
        let mut rest = text;
        let mut lists_labels = false;
        while let Some(c) = rest.chars().next() {
            if c == '{' {
                rest = query.matchers(&rest[1..]);
            } else if c == '[' {
                // A duration, or a variable of Grafana's for one.
                rest = rest.split_once(']').expect("a range ends").1;
            } else if c == '(' && lists_labels {
                let (list, after) = rest[1..].split_once(')').expect("a list ends");
                query.labels.extend(list.split(',').map(|label| label.trim().to_owned()));
                rest = after;
                lists_labels = false;
            } else if c.is_ascii_digit() {
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            } else if c.is_ascii_alphabetic() || c == '_' {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                rest = after;
                lists_labels = BEFORE_LABELS.contains(&word);
                let is_call = rest.trim_start().starts_with('(');
                let is_aggregation =
                    ["by", "without"].iter().any(|by| rest.trim_start().starts_with(&format!("{by} (")));
                if !lists_labels && !is_call && !is_aggregation && !WORDS.contains(&word) {
                    query.metrics.push(word.to_owned());
                }
            } else {
                rest = &rest[c.len_utf8()..];
            }
        }
        query.labels.sort();
        query.labels.dedup();
        query
    }

    /// `name="value", ..` up to the brace at the end.
    fn matchers<'a>(&mut self, mut rest: &'a str) -> &'a str {
        loop {
            rest = rest.trim_start_matches([',', ' ']);
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let (label, after) = rest.split_once(['=', '!']).expect("a matcher");
            self.labels.push(label.trim().to_owned());
            rest = after.split_once('"').and_then(|(_, value)| value.split_once('"')).expect("a value").1;
        }
    }
}

/// All queries of a dashboard: of its panels, and of its variables.
pub fn queries_of(dashboard: &Value) -> Vec<Query> {
    let mut queries = Vec::new();
    collect(dashboard, &mut queries);
    queries
}

fn collect(value: &Value, queries: &mut Vec<Query>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, queries)),
        Value::Object(members) => {
            if let Some(expr) = members.get("expr").and_then(Value::as_str) {
                queries.push(Query::parse(expr));
            }
            if let Some(definition) = members.get("definition").and_then(Value::as_str) {
                let inside = definition.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
                let (metric, label) =
                    inside.and_then(|inside| inside.rsplit_once(", ")).expect("label_values");
                let mut query = Query::parse(metric);
                query.labels.push(label.to_owned());
                queries.push(query);
            }
            members.values().for_each(|member| collect(member, queries));
        }
        _ => {}
    }
}

/// The names and queries of rules, each on a line of its own.
pub fn exprs_of_alerts(rules: &str) -> Vec<(String, Query)> {
    let values = |key: &str| -> Vec<String> {
        let lines = rules.lines().map(|line| line.trim_start().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned()).collect()
    };
    let (alerts, exprs) = (values("alert:"), values("expr:"));
    assert_eq!(alerts.len(), exprs.len(), "each alert has its query on one line");
    alerts.into_iter().zip(exprs.iter().map(|expr| Query::parse(expr))).collect()
}

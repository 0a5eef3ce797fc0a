//! Reading an answer: it may be anything.

use logcontext_service::Server as _;

use super::page::{Head, Page, PageCost};
use crate::server::Presence;
use crate::show::{Keep, cut};

/// The page that is read here.
const PAGE: u32 = 1;
/// More labels than any process keeps.
const MOST_COSTS: usize = 20_000;
/// More than a page has.
const MOST_FIGURES: usize = 10_000;
/// Longer than any name, label or version is.
const LONGEST: usize = 1_000;
/// More seconds than any process has burned.
const MOST_SECONDS: f64 = 1e12;

/// The page of a presence.
///
/// # Errors
/// What it is instead.
pub(super) fn read(body: &[u8]) -> Result<Page, String> {
    let head: Head = serde_json::from_slice(body).map_err(|_| "its answer is no page /status".to_owned())?;
    if head.name != Presence::NAME {
        let name = cut(&head.name, 40, Keep::Beginning);
        return Err(format!("it is another program, {name:?}: expected {:?}", Presence::NAME));
    }
    if head.page != PAGE {
        return Err(format!("its page /status is number {}: expected {PAGE}, of another version", head.page));
    }
    // What serde says may repeat what it has read.
    let page: Page = serde_json::from_slice(body).map_err(|error| {
        let error = cut(&error.to_string(), 100, Keep::Beginning);
        format!("its page /status cannot be read: {error}")
    })?;
    check(&page).map_err(|what| format!("its page /status cannot be true: {what}"))?;
    Ok(page)
}

fn check(page: &Page) -> Result<(), &'static str> {
    if page.figures_left_out > 0 {
        return Err("it leaves figures out, and those that are looked at may be among them");
    }
    if page.costs.len() > MOST_COSTS || page.figures.len() > MOST_FIGURES {
        return Err("it has more rows than a process may");
    }
    let figures = page.figures.iter().flat_map(|figure| figure.labels.values().chain([&figure.name]));
    let costs = page.costs.iter().flat_map(|cost| cost.label.iter().chain([&cost.kind]));
    let own = page.details.iter().flat_map(|(key, value)| [key, value]).chain(page.diagnostics.keys());
    let mut texts = figures.chain(costs).chain(own).chain([&page.version, &page.instance]);
    if texts.any(|text| text.len() > LONGEST) {
        return Err("it has a text that is too long");
    }
    let are_times = is_time(page.uptime_seconds) && page.costs.iter().flat_map(times).all(is_time);
    if !are_times {
        return Err("it has a time that is none");
    }
    if page.figures.iter().filter_map(|figure| figure.value).any(|value| !value.is_finite()) {
        return Err("it has a figure that is no number");
    }
    Ok(())
}

fn times(cost: &PageCost) -> impl Iterator<Item = f64> {
    let measured = cost.cpu_seconds.into_iter().chain(cost.db_wait_seconds);
    measured.chain([cost.db_transaction_seconds, cost.remote_cpu_seconds])
}

fn is_time(seconds: f64) -> bool {
    (0.0..MOST_SECONDS).contains(&seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn page() -> Value {
        json!({
            "page": 1, "name": "presence", "version": "0.1.0", "details": { "role": "api" },
            "instance": "0123", "process_id": 7, "uptime_seconds": 1.5, "requests_in_flight": 1,
            "background_running": 2, "diagnostics": {}, "panics": 0, "figures_left_out": 0,
            "costs": [{
                "kind": "request", "label": "GET /", "started": 1, "in_flight": 0, "failed": 0, "panicked": 0,
                "cancelled": 0, "cpu_seconds": 0.5, "db_transactions": 0, "db_transaction_seconds": 0.0,
            }],
            "figures": [{ "name": "bus_connected", "labels": { "bus": "presence" }, "value": 1.0 },
                { "name": "bus_fire_seconds", "count": 1, "sum_seconds": 0.1 }],
            "new_in_a_later_version": true,
        })
    }

    fn read_with(pointer: &str, value: Value) -> Result<Page, String> {
        let mut page = page();
        *page.pointer_mut(pointer).unwrap() = value;
        read(page.to_string().as_bytes())
    }

    #[test]
    fn a_page_is_read_whatever_was_added_to_it() {
        let page = read(page().to_string().as_bytes()).unwrap();
        assert_eq!((page.process_id, page.costs.len(), page.figures.len()), (7, 1, 2));
        assert_eq!((page.costs[0].remote_calls, page.costs[0].db_wait_seconds), (0, None));
    }

    #[test]
    fn what_is_no_page_of_presence_is_refused() {
        let long = "x".repeat(2_000);
        for (pointer, value, expected) in [
            (
                "/name",
                json!("greeter\u{1b}[2J"),
                "it is another program, \"greeter\u{fffd}[2J\": expected \"presence\"",
            ),
            ("/page", json!(2), "is number 2: expected 1"),
            ("/version", json!(7), "cannot be read: invalid type"),
            ("/version", json!(long), "a text that is too long"),
            ("/costs/0/label", json!(long), "a text that is too long"),
            ("/figures/0/labels/bus", json!(long), "a text that is too long"),
            ("/costs/0/started", json!(-1), "cannot be read"),
            ("/costs/0/cpu_seconds", json!(-0.5), "a time that is none"),
            ("/costs/0/db_transaction_seconds", json!(1e300), "a time that is none"),
            ("/uptime_seconds", json!(-1.0), "a time that is none"),
            ("/figures_left_out", json!(1), "leaves figures out"),
            ("/costs", json!(vec![page()["costs"][0].clone(); 20_001]), "more rows"),
        ] {
            let error = read_with(pointer, value).unwrap_err();
            assert!(error.contains(expected) && error.len() < 250, "{expected}: {error}");
        }
        for body in [
            "",
            "ok\n",
            "<html>",
            "[]",
            "{}",
            "{\"page\":1}",
            "null",
            "{\"page\":1,\"name\":\"presence\"",
            "\u{fffd}",
        ] {
            assert_eq!(read(body.as_bytes()).unwrap_err(), "its answer is no page /status", "{body}");
        }
        assert!(
            read(b"{\"page\":1,\"name\":\"presence\"}")
                .unwrap_err()
                .contains("cannot be read: missing field")
        );
    }
}

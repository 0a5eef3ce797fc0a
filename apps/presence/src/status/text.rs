//! The overview for people: 80 columns, whatever was said.

use std::time::Duration;

use super::ProcessAddress;
use super::costs::Cost;
use super::overview::Overview;
use super::process::Process;
use crate::show::{Keep, Table, count, cut, plain, time};

pub(super) fn text(overview: &Overview, labels: usize) -> String {
    let mut parts = Vec::new();
    if overview.answered().next().is_some() {
        parts.push(processes(overview));
        parts.extend(sending(overview));
        parts.extend(groups(overview));
        parts.extend(raised(overview));
    }
    let missing: String = overview
        .missing()
        .map(|(address, error)| format!("{}: {}\n", plain(&address.to_string()), plain(error)))
        .collect();
    if !missing.is_empty() {
        parts.push(missing);
    }
    match (&overview.costs, &overview.no_sums) {
        (Some(all), _) => parts.push(costs(all, labels)),
        (None, Some(why)) => parts.push(format!("no sums: {why}\n")),
        (None, None) => {}
    }
    parts.join("\n")
}

fn name(address: &ProcessAddress) -> String {
    cut(&address.to_string(), 24, Keep::End)
}

fn maybe(text: Option<&str>, most: usize) -> String {
    text.map_or("-".to_owned(), |text| cut(text, most, Keep::Beginning))
}

fn processes(overview: &Overview) -> String {
    let head = ["process", "hub", "role", "version", "up", "requests", "running", "bus"];
    let mut table = Table::new(head).left(4);
    for (address, process) in overview.answered() {
        let bus = process.bus_connected.map_or("-", |is_connected| if is_connected { "up" } else { "down" });
        table.row([
            name(address),
            maybe(process.hub.as_deref(), 8),
            maybe(process.role.as_deref(), 6),
            cut(&process.version, 10, Keep::Beginning),
            up(process.uptime_seconds),
            count(process.requests_in_flight),
            count(process.background_running),
            bus.to_owned(),
        ]);
    }
    table.to_string()
}

/// What has not gone out: to other hubs, and to the broker. Of processes that know.
fn sending(overview: &Overview) -> Option<String> {
    let knows = |process: &Process| {
        let figures = [
            process.pending_destinations,
            process.pending_states,
            process.destinations_behind,
            process.outbox_rows,
        ];
        figures.iter().any(Option::is_some)
    };
    let mut table = Table::new(["not sent yet", "to hubs", "states", "hubs behind", "events to the broker"]);
    let mut is_empty = true;
    for (address, process) in overview.answered().filter(|(_, process)| knows(process)) {
        is_empty = false;
        let figure = |figure: Option<u64>| figure.map_or("-".to_owned(), count);
        table.row([
            name(address),
            figure(process.pending_destinations),
            figure(process.pending_states),
            figure(process.destinations_behind),
            figure(process.outbox_rows),
        ]);
    }
    (!is_empty).then(|| table.to_string())
}

/// Groups of listeners that have something to do; how many have not is enough of the others.
fn groups(overview: &Overview) -> Option<String> {
    let all = || {
        overview
            .answered()
            .flat_map(|(address, process)| process.groups.iter().map(move |group| (address, group)))
    };
    let total = all().count();
    if total == 0 {
        return None;
    }
    let mut table = Table::new(["bus: event", "group", "unread", "pending", "told by"]).left(2);
    let mut behind = 0;
    for (address, group) in all().filter(|(_, group)| group.unread + group.pending > 0) {
        behind += 1;
        table.row([
            cut(&group.event, 18, Keep::Beginning),
            cut(&group.group, 20, Keep::Beginning),
            count(group.unread),
            count(group.pending),
            cut(&address.to_string(), 21, Keep::End),
        ]);
    }
    let rest = format!("bus: {} of {} groups of listeners have nothing left to do\n", total - behind, total);
    Some(if behind == 0 { rest } else { format!("{table}{rest}") })
}

fn raised(overview: &Overview) -> Option<String> {
    let mut text = String::new();
    for (address, process) in overview.answered() {
        let panics = ("panics", process.panics);
        let raised = process.diagnostics.iter().map(|(kind, n)| (&**kind, *n)).chain([panics]);
        for (kind, n) in raised.filter(|(_, n)| *n > 0) {
            text.push_str(&format!("{}: {} x {}\n", name(address), cut(kind, 30, Keep::Beginning), count(n)));
        }
    }
    (!text.is_empty()).then_some(text)
}

/// What others have cost on their behalf has a column if there is any.
fn costs(all: &[Cost], most: usize) -> String {
    let has_remote = all.iter().any(|cost| cost.remote_calls > 0);
    let remote = if has_remote { "remote" } else { "" };
    let mut table =
        Table::new(["all together, by label", "count", "fail", "CPU", "txns", "in txns", "wait", remote]);
    let width = if has_remote { 23 } else { 31 };
    for cost in all.iter().take(most) {
        let label = cost.label.as_deref().unwrap_or("(no label)");
        // Others' contexts and those of requests may have the same label.
        let label =
            if cost.kind == "request" { label.to_owned() } else { format!("{}: {label}", short(&cost.kind)) };
        table.row([
            cut(&label, width, Keep::Beginning),
            short_count(cost.started),
            short_count(cost.failed),
            cost.cpu_seconds.map_or("-".to_owned(), seconds),
            short_count(cost.db_transactions),
            seconds(cost.db_transaction_seconds),
            cost.db_wait_seconds.map_or("-".to_owned(), seconds),
            match cost.remote_calls {
                0 if has_remote => "-".to_owned(),
                0 => String::new(),
                _ => seconds(cost.remote_cpu_seconds),
            },
        ]);
    }
    let rest = all.len().saturating_sub(most);
    if rest == 0 { table.to_string() } else { format!("{table}and {rest} labels more\n") }
}

fn short(kind: &str) -> &str {
    match kind {
        "background" => "bg",
        "connection" => "conn",
        kind => kind,
    }
}

/// `1,234`, `123k`, `12M`: five letters at most.
fn short_count(n: u64) -> String {
    match n {
        0..=9_999 => count(n),
        10_000..=999_999 => format!("{}k", n / 1_000),
        1_000_000..=999_999_999 => format!("{}M", n / 1_000_000),
        _ => format!("{}G", (n / 1_000_000_000).min(9_999)),
    }
}

fn seconds(seconds: f64) -> String {
    time(Duration::from_secs_f64(seconds))
}

/// `3d 4h`, `5m 6s`, `7s`: the two largest units.
fn up(seconds: f64) -> String {
    let whole = seconds as u64;
    let [days, hours, minutes, seconds] = [whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60];
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {seconds}s"),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_counts_are_short() {
        assert_eq!([0.9, 61.0, 7_200.5, 90_000.0].map(up), ["0s", "1m 1s", "2h 0m", "1d 1h"]);
        let counts = [0, 9_999, 10_000, 123_456, 12_345_678, u64::MAX].map(short_count);
        assert_eq!(counts, ["0", "9,999", "10k", "123k", "12M", "9999G"]);
    }
}

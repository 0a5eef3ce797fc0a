//! The text format.

mod common;

use common::{logged, request};
use logcontext::{LogContext, Request};
use logcontext_tracing::TextFormat;

/// The one line that `f` logs, without its time.
fn line(f: impl FnOnce()) -> String {
    line_as(TextFormat::new(), f)
}

fn line_as(format: TextFormat, f: impl FnOnce()) -> String {
    let lines = logged(format, f).lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (time, rest) = lines[0].split_once(' ').unwrap();
    assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    rest.to_owned()
}

#[test]
fn the_context_is_where_synapse_has_it() {
    let context = LogContext::new("GET-17");
    let line = line(|| {
        context.scope(|| {
            tracing::info!(target: "presence", user = "@alice", devices = 2, late = 0.25, ok = true, "online");
        });
    });
    assert_eq!(line, "INFO GET-17 presence: online user=@alice devices=2 late=0.25 ok=true");
}

#[test]
fn outside_any_context_a_line_says_sentinel() {
    assert_eq!(line(|| tracing::warn!(target: "t", "alone")), "WARN sentinel t: alone");
}

#[test]
fn the_id_that_a_request_was_given_is_told_and_no_other() {
    let log = || tracing::info!(target: "t", "hello");
    assert_eq!(line(|| request().scope(log)), "INFO PUT-17{req=7f3a} t: hello");
    assert_eq!(line(|| request().nested("lookup").scope(log)), "INFO PUT-17-lookup{req=7f3a} t: hello");
    let named = LogContext::builder("GET-1").request(Request::new("GET", "/").id("GET-1")).start();
    assert_eq!(line(|| named.nested("lookup").scope(log)), "INFO GET-1-lookup t: hello");
    let without = LogContext::builder("GET-1").request(Request::new("GET", "/")).start();
    assert_eq!(line(|| without.nested("lookup").scope(log)), "INFO GET-1-lookup t: hello");
}

#[test]
fn values_that_could_be_taken_for_more_than_one_are_quoted() {
    let line = line(|| {
        tracing::info!(
            target: "t",
            plain = "a/b:c", spaces = "a b", quotes = "a\"b", equals = "a=b", backslash = "a\\b", empty = "",
            debug = ?Some("x"), display = %"x y", tab = "a\tb", nbsp = "a\u{a0}b", letters = "äß",
            "hello"
        );
    });
    assert_eq!(
        line,
        r#"INFO sentinel t: hello plain=a/b:c spaces="a b" quotes="a\"b" equals="a=b" backslash="a\\b" empty="" "#
            .to_owned()
            + "debug=\"Some(\\\"x\\\")\" display=\"x y\" tab=\"a\\tb\" nbsp=\"a\u{a0}b\" letters=äß"
    );
}

#[test]
fn the_message_comes_first_wherever_the_event_has_it() {
    let line = line(|| tracing::info!(target: "t", a = 1, b = "x y", message = "hello there"));
    assert_eq!(line, "INFO sentinel t: hello there a=1 b=\"x y\"");
    let without = self::line(|| tracing::info!(target: "t", a = 1));
    assert_eq!(without, "INFO sentinel t: a=1");
}

#[test]
fn nothing_from_outside_can_forge_a_line_or_reach_the_terminal() {
    let evil =
        "x\n2026-01-01T00:00:00.000000Z INFO GET-1 t: forged\r\u{1b}[2J\u{9b}\u{7f}\u{85}\u{2028}\u{202e}";
    let context =
        LogContext::builder(evil).request(Request::new("GET", evil).id(format!("id {evil}"))).start();
    let kept = logged(TextFormat::new(), || {
        context.scope(|| {
            tracing::info!(value = evil, debug = ?evil, display = %evil, "{evil}");
            tracing::info!(message = evil);
        });
    });
    assert_eq!(kept.lines().len(), 2);
    let text = kept.text();
    let visible = |ch: char| ch == '\n' || !(ch.is_control() || "\u{2028}\u{202e}".contains(ch));
    assert!(text.chars().all(visible), "{text}");
    // A context's name is one word, also where it has spaces.
    let start = r#"INFO "x\n2026-01-01T00:00:00.000000Z INFO GET-1 t: forged\r\u{1b}[2J\u{9b}\u{7f}\u{85}\u{2028}\u{202e}"{req=""#;
    assert!(kept.lines()[0].split_once(' ').unwrap().1.starts_with(start), "{text}");
}

#[test]
fn a_line_that_is_too_long_is_cut_and_says_so() {
    let long = "ä\n".repeat(1_000);
    for limit in 0..400 {
        let line = line_as(TextFormat::new().limit(limit), || {
            LogContext::new("GET-17").scope(|| tracing::info!(target: "t", long, debug = ?long, "hello"));
        });
        assert!(line.starts_with("INFO GET-17 t: ") && line.ends_with(" truncated=true"), "{line}");
        assert!(line.len() < limit + 100, "{line}");
    }
}

#[test]
fn where_a_line_comes_from_is_told_if_asked_for() {
    let line = line_as(TextFormat::new().locations(true), || tracing::info!(target: "t", a = 1, "here"));
    let start = "INFO sentinel t: here a=1 file=";
    assert!(line.starts_with(start) && line.contains("tests/text.rs line="), "{line}");
}

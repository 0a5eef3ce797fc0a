//! Whatever the values hold: one line, valid JSON, and the values come back.

mod common;

use common::{logged, parse};
use logcontext::{LogContext, Request};
use logcontext_tracing::{JsonFormat, TextFormat};
use proptest::prelude::*;

/// Any characters, and those that matter more often than chance has it.
fn text() -> impl Strategy<Value = String> {
    let ch = prop_oneof![
        any::<char>(),
        (0_u8..0x80).prop_map(char::from),
        prop::sample::select(
            "\"\\\n\r\t\u{8}\u{c}\u{1b}\0\u{7f}\u{9b}\u{2028}\u{2029}\u{202e}{}=, "
                .chars()
                .collect::<Vec<_>>()
        ),
    ];
    prop::collection::vec(ch, 0..40).prop_map(String::from_iter)
}

/// All but the many ways of being no number.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), -1e3..1e3]
}

fn context(name: &str, values: &[String; 6]) -> LogContext {
    let [id, path, agent, trace, user, label] = values;
    let request = Request::new("GET", path.as_str()).id(id.as_str());
    let request = request.user_agent(agent.as_str()).trace_id(trace.as_str());
    request.set_user(user.as_str());
    LogContext::builder(name.to_owned()).label(label).request(request).start()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_is_valid_and_gives_back_what_was_put_in(
        message in text(), name in text(), value in text(), values in [text(), text(), text(), text(), text(), text()],
        float in float(), int in any::<i64>(), huge in any::<u128>(), bytes in any::<Vec<u8>>(),
    ) {
        let context = context(&name, &values);
        let kept = logged(JsonFormat::new(), || context.scope(|| {
            tracing::info!(value, debug = ?value, display = %value, float, int, huge, bytes = &bytes[..], user = value, "{message}");
        }));
        let lines = kept.lines();
        prop_assert_eq!(lines.len(), 1);
        let record = parse(&lines[0]);
        prop_assert_eq!(&record["message"], &message);
        prop_assert_eq!(&record["context"], &name);
        let [id, path, agent, trace, user, _] = &values;
        prop_assert_eq!(&record["request_id"], id);
        prop_assert_eq!(&record["path"], path);
        prop_assert_eq!(&record["user_agent"], agent);
        prop_assert_eq!(&record["trace_id"], trace);
        prop_assert_eq!(&record["user"], user);
        prop_assert_eq!(&record["value"], &value);
        prop_assert_eq!(&record["display"], &value);
        prop_assert_eq!(&record["debug"], &format!("{value:?}"));
        prop_assert_eq!(&record["fields"]["user"], &value);
        prop_assert_eq!(&record["int"], int);
        // Not by way of serde_json's number, which is off by a bit now and then.
        let (_, told) = lines[0].split_once("\"float\":").unwrap();
        let (told, _) = told.split_once(",\"int\":").unwrap();
        prop_assert_eq!(told.trim_matches('"').parse::<f64>().unwrap().to_bits(), float.to_bits());
    }

    #[test]
    fn json_that_was_cut_is_valid(message in text(), name in text(), value in text(), limit in 0_usize..300) {
        let kept = logged(JsonFormat::new().limit(limit), || LogContext::new(name.clone()).scope(|| {
            tracing::info!(value, user = value, debug = ?value, "{message}");
        }));
        let record = parse(&kept.lines()[0]);
        prop_assert_eq!(&record["context"], &name);
        prop_assert!(message.starts_with(record["message"].as_str().unwrap()));
    }

    #[test]
    fn text_is_one_line_that_a_terminal_can_show(message in text(), name in text(), value in text()) {
        let context = context(&name, &std::array::from_fn(|_| value.clone()));
        let kept = logged(TextFormat::new(), || context.scope(|| {
            tracing::info!(value, debug = ?value, "{message}");
        }));
        let text = kept.text();
        let line = text.strip_suffix('\n').unwrap();
        let hidden = |ch: char| ch.is_control() || matches!(ch, '\u{2028}'..='\u{202e}');
        prop_assert_eq!(line.find(hidden), None, "{}", line);
    }
}

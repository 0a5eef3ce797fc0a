//! The JSON format: what is on a record, and where.

mod common;

use common::{logged, request};
use logcontext::LogContext;
use logcontext_tracing::JsonFormat;
use serde_json::{Value, json};

/// The one record that `f` logs, without its time.
fn record(f: impl FnOnce()) -> Value {
    record_as(JsonFormat::new(), f)
}

fn record_as(format: JsonFormat, f: impl FnOnce()) -> Value {
    let mut records = logged(format, f).json();
    assert_eq!(records.len(), 1);
    let mut record = records.remove(0);
    let time = record.as_object_mut().unwrap().remove("timestamp").unwrap();
    let time = time.as_str().unwrap();
    assert!(time.len() == 27 && time.starts_with("20") && time.ends_with('Z'), "{time}");
    record
}

#[test]
fn a_record_has_its_context_and_the_requests_fields_at_the_top_level() {
    let context = request();
    context.request().unwrap().set_user("@alice");
    let record = record(|| context.scope(|| tracing::info!(target: "presence", devices = 2, "online")));
    assert_eq!(
        record,
        json!({
            "level": "INFO", "target": "presence", "message": "online",
            "context": "PUT-17", "label": "PUT /presence/{user}", "request_id": "7f3a",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "method": "PUT", "path": "/presence/alice",
            "client_address": "127.0.0.1", "user": "@alice", "user_agent": "curl/8", "protocol": "HTTP/1.1",
            "devices": 2,
        })
    );
}

#[test]
fn what_becomes_known_later_is_on_later_records() {
    let context = LogContext::builder("GET-1").request(logcontext::Request::new("GET", "/")).start();
    let records = logged(JsonFormat::new(), || {
        context.scope(|| {
            tracing::info!("before");
            context.set_label("GET /");
            context.request().unwrap().set_user("@alice");
            tracing::info!("after");
        });
    })
    .json();
    assert_eq!((records[0].get("label"), records[0].get("user")), (None, None));
    assert_eq!((&records[1]["label"], &records[1]["user"]), (&json!("GET /"), &json!("@alice")));
}

#[test]
fn outside_any_context_a_record_says_sentinel() {
    let record = record(|| tracing::warn!(target: "t", "alone"));
    assert_eq!(record, json!({"level": "WARN", "target": "t", "message": "alone", "context": "sentinel"}));
}

#[test]
fn a_nested_context_says_its_own_name_and_its_request() {
    let record = record(|| request().nested("lookup").scope(|| tracing::info!("looking")));
    assert_eq!(record["context"], "PUT-17-lookup");
    assert_eq!(record["request_id"], "7f3a");
    assert_eq!(record["path"], "/presence/alice");
}

#[test]
fn a_request_without_an_id_is_found_by_its_contexts_name() {
    let context = LogContext::builder("GET-1").request(logcontext::Request::new("GET", "/")).start();
    let record = record(|| context.nested("lookup").scope(|| tracing::info!("looking")));
    assert_eq!(record["request_id"], "GET-1");
}

#[test]
fn reserved_names_win_and_the_events_own_are_found_under_fields() {
    let record = record(|| {
        request().scope(|| {
            tracing::info!(
                context = "mine",
                request_id = 7,
                path = "/tmp",
                level = "deep",
                timestamp = true,
                fields = 0.5,
                other = 1,
                "hello"
            );
        });
    });
    assert_eq!(record["context"], "PUT-17");
    assert_eq!(record["request_id"], "7f3a");
    assert_eq!(record["path"], "/presence/alice");
    assert_eq!(record["other"], 1);
    assert_eq!(
        record["fields"],
        json!({
            "context": "mine", "request_id": 7, "path": "/tmp", "level": "deep", "timestamp": true, "fields": 0.5,
        })
    );
}

#[test]
fn reserved_names_are_reserved_where_the_context_has_no_such_field_too() {
    let record = record(|| tracing::info!(user = "@mallory", "hello"));
    assert_eq!(record.get("user"), None);
    assert_eq!(record["fields"], json!({"user": "@mallory"}));
}

#[test]
fn a_field_that_an_event_has_twice_is_told_once() {
    let record = record(|| tracing::info!(a = 1, b = 2, a = 3, context = 4, context = 5, "hello"));
    assert_eq!((&record["a"], &record["b"]), (&json!(1), &json!(2)));
    assert_eq!(record["fields"], json!({"context": 4}));
}

#[test]
fn however_long_a_name_is_it_is_told_whole() {
    let record = record(|| {
        tracing::info!(
            a = 1,
            b = "two",
            a_name_of_twenty_six_bytes = 3,
            a_name_of_twenty_six_byteS = "four",
            a_name_of_twenty_seven_byte = 5,
            a_name_of_twenty_seven_bytE = "six",
            a_name_of_twenty_eight_bytes = 7,
            a_name_of_twenty_eight_byteS = "eight",
            a_name_of_more_than_thirty_two_bytes = 9,
            a_name_of_more_than_thirty_two_byteS = "ten",
        );
    });
    let expected = json!({
        "level": "INFO",
        "target": "json",
        "message": "",
        "context": "sentinel",
        "a": 1,
        "b": "two",
        "a_name_of_twenty_six_bytes": 3,
        "a_name_of_twenty_six_byteS": "four",
        "a_name_of_twenty_seven_byte": 5,
        "a_name_of_twenty_seven_bytE": "six",
        "a_name_of_twenty_eight_bytes": 7,
        "a_name_of_twenty_eight_byteS": "eight",
        "a_name_of_more_than_thirty_two_bytes": 9,
        "a_name_of_more_than_thirty_two_byteS": "ten",
    });
    assert_eq!(record, expected);
}

#[test]
fn a_place_is_not_taken_for_another_one() {
    // More places than a thread remembers.
    macro_rules! places {
        ($($name:ident)*) => {
            [$((stringify!($name), &(|| tracing::info!(target: concat!("of_", stringify!($name)), $name = 1)) as &dyn Fn())),*]
        };
    }
    let places = places!(
        p00 p01 p02 p03 p04 p05 p06 p07 p08 p09 p10 p11 p12 p13 p14 p15 p16 p17 p18 p19 p20 p21 p22 p23 p24 p25 p26
        p27 p28 p29 p30 p31 p32 p33 p34 p35 p36 p37 p38 p39 p40 p41 p42 p43 p44 p45 p46 p47 p48 p49 p50 p51 p52 p53
        p54 p55 p56 p57 p58 p59 p60 p61 p62 p63 p64 p65 p66 p67 p68 p69
    );
    for (name, log) in places.iter().chain(&places) {
        let record = record(log);
        assert_eq!((&record["target"], &record[*name]), (&json!(format!("of_{name}")), &json!(1)));
    }
}

#[test]
fn a_first_field_without_a_value_does_not_take_its_name_from_the_second() {
    let record = record(|| tracing::info!(a = None::<u64>, a = 3, "hello"));
    assert_eq!(record["a"], 3);
}

#[test]
fn an_event_with_many_fields_keeps_them_all_and_each_once() {
    let record = record(|| {
        tracing::info!(
            a = 1,
            b = 2,
            c = 3,
            d = 4,
            e = 5,
            f = 6,
            g = 7,
            h = 8,
            i = 9,
            j = 10,
            k = 11,
            j = 12,
            a = 13,
            "hello"
        );
    });
    let own: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
        .map(|name| record[name].as_u64().unwrap())
        .into();
    assert_eq!(own, (1..=11).collect::<Vec<_>>());
}

#[test]
fn every_type_of_value_has_a_form() {
    let record = record(|| {
        tracing::info!(
            int = -1_i64,
            largest = u64::MAX,
            int128 = i128::from(i64::MIN),
            huge = u128::MAX,
            tiny = i128::MIN,
            float = 0.1,
            whole = 2.0,
            far = 1e300,
            nan = f64::NAN,
            inf = f64::INFINITY,
            minus = f64::NEG_INFINITY,
            yes = true,
            none = None::<&str>,
            some = Some("text"),
            debug = ?Some("a\"b"),
            display = %"a\"b",
            bytes = &[0_u8, 10, 255][..],
            r#type = "raw",
            "strange \"key\"\n" = 1,
            "hello"
        );
    });
    let expected = json!({
        "int": -1, "largest": u64::MAX, "int128": i64::MIN, "huge": u128::MAX.to_string(),
        "tiny": i128::MIN.to_string(), "float": 0.1, "whole": 2.0, "far": 1e300, "nan": "NaN", "inf": "inf",
        "minus": "-inf", "yes": true, "some": "text", "debug": "Some(\"a\\\"b\")", "display": "a\"b",
        "bytes": "000aff", "type": "raw", "strange \"key\"\n": 1,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&record[key], value, "{key}");
    }
    assert_eq!(record.get("none"), None);
}

#[test]
fn an_error_is_followed_by_what_caused_it() {
    #[derive(Debug)]
    struct Wrapped(&'static str, Option<Box<dyn std::error::Error + 'static>>);
    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref()
        }
    }
    let error = Wrapped(
        "cannot start",
        Some(Box::new(Wrapped(
            "no listener: port \"80\" in use",
            Some(Box::new(Wrapped("port \"80\" in use", None))),
        ))),
    );
    let record = record(|| tracing::error!(error = &error as &dyn std::error::Error, "failed"));
    assert_eq!(record["error"], "cannot start: no listener: port \"80\" in use");
}

#[test]
fn a_message_may_come_last_be_missing_or_be_no_text() {
    let context = LogContext::new("import");
    let records = logged(JsonFormat::new(), || {
        context.scope(|| {
            tracing::info!(a = 1, message = "last");
            tracing::info!(a = 1);
            tracing::info!(message = 5, a = 1);
            tracing::info!({ message = "first" }, "second");
        });
    })
    .json();
    for record in &records {
        assert_eq!(record["context"], "import");
    }
    let messages: Vec<_> = records.iter().map(|record| record["message"].as_str().unwrap()).collect();
    assert_eq!(messages[..3], ["last", "", "5"]);
    assert!(records[..3].iter().all(|record| record["a"] == 1));
}

#[test]
fn nothing_in_a_record_can_end_its_line_or_reach_a_terminal() {
    let evil = "a\nb\r\u{1b}[2J\u{0}\u{7f}\u{85}\u{9b}\u{2028}\u{202e}\"\\}";
    let request = logcontext::Request::new(evil, evil).id(evil).client(evil).user_agent(evil).trace_id(evil);
    let context = LogContext::builder(evil).label(evil).request(request).start();
    let kept = logged(JsonFormat::new(), || {
        context.scope(|| tracing::info!(field = evil, debug = %evil, "{evil}"));
    });
    assert_eq!(kept.lines().len(), 1);
    let text = kept.text();
    assert!(text.trim_end().chars().all(|ch| !ch.is_control() && !"\u{2028}\u{202e}".contains(ch)), "{text}");
    let record = kept.json().remove(0);
    for key in ["message", "context", "label", "request_id", "method", "path", "client_address", "field"] {
        assert_eq!(record[key], evil, "{key}");
    }
}

#[test]
fn a_record_that_is_too_long_is_cut_and_says_so() {
    let long = "ä\"".repeat(1_000);
    for limit in 0..600 {
        let format = JsonFormat::new().limit(limit);
        let message = record_as(format, || {
            request().scope(|| tracing::info!(after = 1, "{long}"));
        });
        assert_eq!(message["truncated"], true);
        assert_eq!(message["context"], "PUT-17");
        assert_eq!(message["path"], "/presence/alice");
        assert!(long.starts_with(message["message"].as_str().unwrap()));
        assert_eq!(message.get("after"), None);
        record_as(format, || tracing::info!(context = long, path = 1, long, "hello"));
        record_as(format, || tracing::info!(context = ?long, path = 1, long = ?long, "hello"));
    }
    let whole = record(|| tracing::info!("{long}"));
    assert_eq!((whole.get("truncated"), &whole["message"]), (None, &json!(long)));
}

#[test]
fn a_record_of_megabytes_is_not_one_when_it_is_written() {
    let megabytes = "\u{1}x".repeat(2_000_000);
    let context = LogContext::builder(megabytes.clone()).start();
    let kept = logged(JsonFormat::new(), || {
        context.scope(|| tracing::info!(megabytes, user = megabytes, "{megabytes}"));
    });
    kept.json();
    assert!(kept.text().len() < 300_000, "{}", kept.text().len());
}

#[test]
fn a_value_that_fails_to_print_spoils_nothing() {
    struct Failing;
    impl std::fmt::Debug for Failing {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("some\n")?;
            Err(std::fmt::Error)
        }
    }
    let record = record(|| tracing::info!(failing = ?Failing, after = 1, "hello"));
    assert_eq!((&record["failing"], &record["after"]), (&json!("some\n"), &json!(1)));
}

#[test]
fn a_value_that_logs_while_it_is_printed_has_a_line_of_its_own() {
    struct Logging;
    impl std::fmt::Debug for Logging {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            tracing::info!("inner");
            f.write_str("printed")
        }
    }
    let kept = logged(JsonFormat::new(), || {
        tracing::info!(value = ?Logging, "outer");
        tracing::info!("next");
    });
    // tracing itself keeps the inner one away where a thread has a subscriber of its own.
    let messages: Vec<_> = kept.json().iter().map(|record| record["message"].clone()).collect();
    assert!(messages.ends_with(&[json!("outer"), json!("next")]), "{messages:?}");
}

#[test]
fn a_value_that_panics_while_it_is_printed_leaves_no_trace_in_the_next_record() {
    struct Panicking;
    impl std::fmt::Debug for Panicking {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("on purpose")
        }
    }
    let kept = logged(JsonFormat::new(), || {
        let log = || tracing::info!(value = ?Panicking, "outer");
        std::panic::catch_unwind(log).unwrap_err();
        tracing::info!("next");
    });
    let records = kept.json();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["message"], "next");
}

#[test]
fn where_a_record_comes_from_is_told_if_asked_for() {
    let log = || tracing::info!("here");
    assert_eq!(record(log).get("file"), None);
    let record = record_as(JsonFormat::new().locations(true), log);
    assert!(record["file"].as_str().unwrap().ends_with("tests/json.rs"));
    assert!(record["line"].as_u64().unwrap() > 300);
}

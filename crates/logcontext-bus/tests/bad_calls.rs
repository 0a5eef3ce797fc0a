//! Calls that are none, and handlers that cannot answer.

mod calling;

use calling::{Change, Echo, Tap, echo, echoed, figure, on_both_runtimes};
use logcontext::Ending;
use logcontext_bus::{CallError, Rpc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing::Level;

const FROM: &str = r#""from":{"sender":"other/1","context":"GET-9"}"#;

/// A head with one thing changed.
fn head(from: &str, to: &str) -> String {
    let head = format!(r#"{{"wire":1,"rpc":"test.echo","version":1,"depth":0,"timeout_ms":5000,{FROM}}}"#);
    assert!(head.contains(from), "{head}");
    head.replace(from, to)
}

#[test]
fn what_cannot_be_read_is_answered_logged_once_and_counted_and_the_next_call_is_handled() {
    let bad = |detail: &str| format!(r#"{{"wire":1,"verdict":"bad_request","detail":"{detail}"}}"#);
    let hello = r#""hello""#;
    let long = format!("\"{}\"", "x".repeat(2_000_000));
    let cases = [
        (head("\"wire\":1", "\"wire\":2"), hello, bad("is of version 2 of the bus: expected 1")),
        (head("test.echo", "test.ohce"), hello, bad(r#"is a call of \"test.ohce\": expected \"test.echo\""#)),
        (head("\"version\":1", "\"version\":7"), hello, bad("is of version 7: expected 1")),
        (
            head("\"depth\":0,", ""),
            hello,
            bad(&format!(
                "its head: missing field `depth` at line 1 column {}",
                head("\"depth\":0,", "").len()
            )),
        ),
        (
            head("\"depth\":0", "\"depth\":300"),
            hello,
            bad("its head: depth: invalid value: integer `300`, expected u8 at line 1 column 51"),
        ),
        (
            head("\"depth\":0", "\"depth\":33"),
            hello,
            r#"{"wire":1,"verdict":"too_deep","detail":"32"}"#.to_owned(),
        ),
        ("no JSON".to_owned(), hello, bad("its head: expected ident at line 1 column 2")),
        (String::new(), hello, bad("its head: EOF while parsing a value at line 1 column 0")),
        (head("", ""), "17", bad("invalid type: integer `17`, expected a string at line 1 column 2")),
        (head("", ""), "", bad("EOF while parsing a value at line 1 column 0")),
        (head("", ""), "\"a\" \"b\"", bad("trailing characters at line 1 column 5")),
        (
            head("", ""),
            &long,
            bad(&format!("is {} bytes long: expected at most 1048576", head("", "").len() + long.len())),
        ),
    ];
    on_both_runtimes(|rig| {
        let cases = cases.clone();
        async move {
            let (bus, tap) = rig.tapped(Change::default());
            let served = bus.serve::<Echo>(echoed).start().await.unwrap();
            for (n, (head, body, reply)) in cases.iter().enumerate() {
                tap.send("test.echo", n as u64, head, body).await;
                rig.until(|| tap.replies().len() == n + 1).await;
                assert_eq!(&tap.replies()[n].0, reply);
                rig.until(|| rig.kit.records_at(Level::WARN).len() == n + 1).await;
            }
            assert_eq!(bus.call(echo("hello")).await, Ok("hello".to_owned()));
            // Nobody waits for what was sent by hand.
            let unheard = [("became", "unheard")];
            rig.until(|| figure(rig.kit.supervisor(), "bus_served", &unheard) == cases.len() as u64).await;
            served.stop().await;
            assert!(rig.kit.records_at(Level::ERROR).is_empty());
            for (n, record) in rig.kit.records_at(Level::WARN).iter().enumerate() {
                assert_eq!((&*record.target, &*record.message), ("logcontext::bus", "call refused"));
                assert_eq!(record.context.name(), format!("test.echo-{n}"));
                assert_eq!(record.context.ending(), Some(Ending::Failed));
                let sender = record.field("sender").unwrap();
                let is_known = sender == "other/1" || sender == bus.identity();
                assert!(is_known, "{sender}");
            }
        }
    });
}

#[test]
fn names_from_outside_are_shown_but_do_no_harm() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let served = bus.serve::<Echo>(echoed).start().await.unwrap();
        let evil = format!("a\\n\\u001b[2Jfaked {}", "x".repeat(1000));
        let head =
            head(FROM, &format!(r#""from":{{"sender":"{evil}","context":"{evil}","request":"{evil}"}}"#));
        let head = head.replace("\"version\":1", "\"version\":2");
        tap.send("test.echo", 1, &head, "{\"\\n\": 1}").await;
        rig.until(|| !rig.kit.records_at(Level::WARN).is_empty()).await;
        let record = rig.kit.records_at(Level::WARN).remove(0);
        let id = record.context.request_id().unwrap().to_owned();
        let texts = record.fields.iter().map(|(_, text)| text).chain([&id]);
        for text in texts {
            assert!(text.len() <= 1000 && !text.chars().any(char::is_control), "{text:?}");
        }
        served.stop().await;
    });
}

#[test]
fn a_panic_is_answered_as_such_and_logged_once_and_the_next_call_is_handled() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        // Before it is awaited, and while it is.
        let handler = |Echo(text): Echo| {
            assert!(text != "at once", "secret");
            async move {
                tokio::task::yield_now().await;
                assert!(text != "later", "secret");
                Ok(text)
            }
        };
        let served = bus.serve::<Echo>(handler).start().await.unwrap();
        for text in ["at once", "later"] {
            assert_eq!(bus.call(echo(text)).await, Err(CallError::Panicked));
        }
        assert_eq!(bus.call(echo("hello")).await, Ok("hello".to_owned()));
        served.stop().await;
        let mut records = rig.kit.records_at(Level::ERROR);
        assert_eq!(records.len(), 2, "{records:?}");
        records.sort_by_key(|record| record.context.name().to_owned());
        for (n, record) in records.iter().enumerate() {
            assert_eq!(record.context.name(), format!("test.echo-{n}"));
            assert_eq!(record.context.ending(), Some(Ending::Panicked));
        }
        let records = rig.kit.records();
        assert!(!records.iter().any(|record| record.target == "logcontext::bus"), "{records:?}");
    });
}

/// Reads, answers and fails as its text says.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Odd(String);

#[derive(Clone, Debug, PartialEq, JsonSchema)]
struct Writes(#[schemars(length(max = 5))] String);

impl Serialize for Writes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            "fails" => Err(serde::ser::Error::custom("cannot")),
            "panics" => panic!("while writing"),
            "is large" => "x".repeat(2_000_000).serialize(serializer),
            text => text.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Writes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        assert!(text != "nasty", "while reading");
        if text == "bad" { Err(serde::de::Error::custom("is bad")) } else { Ok(Self(text)) }
    }
}

impl std::fmt::Display for Writes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Rpc for Odd {
    const NAME: &str = "test.odd";
    type Response = Writes;
    type Error = Writes;
}

#[test]
fn an_answer_that_cannot_be_sent_is_an_error_and_is_logged_here() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let handler = |Odd(text): Odd| async move {
            match text.strip_prefix("err ") {
                Some(text) => Err(Writes(text.to_owned())),
                None => Ok(Writes(text)),
            }
        };
        let served = bus.serve::<Odd>(handler).start().await.unwrap();
        let mut failures = 0;
        for how in ["", "err "] {
            for (text, detail) in [
                ("fails", "cannot be written as JSON: cannot"),
                ("is large", "is 2000030 bytes long: expected at most 1048576"),
                ("too long", r#"is not as its schema wants it: "too long" is longer than 5 characters"#),
            ] {
                let error = bus.call(Odd(format!("{how}{text}"))).await.unwrap_err();
                assert_eq!(error, CallError::BadResponse(detail.to_owned()), "{how}{text}");
                failures += 1;
                rig.until(|| rig.kit.records_at(Level::ERROR).len() == failures).await;
                let record = rig.kit.records_at(Level::ERROR).pop().unwrap();
                assert!(record.field("error").unwrap().ends_with(detail), "{record:?}");
            }
            assert_eq!(bus.call(Odd(format!("{how}panics"))).await, Err(CallError::Panicked));
            failures += 1;
            rig.until(|| rig.kit.records_at(Level::ERROR).len() == failures).await;
            let fine = bus.call(Odd(format!("{how}fine"))).await;
            assert_eq!(fine.is_ok(), how.is_empty(), "{fine:?}");
            failures += usize::from(!how.is_empty());
        }
        served.stop().await;
    });
}

#[test]
fn an_answer_that_cannot_be_read_is_an_error_of_its_own() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        let served = bus.serve::<Odd>(|Odd(text)| async move { Ok(Writes(text)) }).start().await.unwrap();
        let error = bus.call(Odd("bad".to_owned())).await.unwrap_err();
        assert_eq!(error.to_string(), "the answer cannot be read: is bad");
        served.stop().await;
        assert!(rig.kit.records_at(Level::ERROR).is_empty());
    });
}

#[test]
fn answers_of_others_are_read_with_care() {
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        for (head, body, expected) in [
            ("no JSON", "", "expected ident at line 1 column 2"),
            (r#"{"wire":2,"verdict":"ok"}"#, r#""a""#, "is of version 2 of the bus: expected 1"),
            (r#"{"wire":1,"verdict":"new"}"#, r#""a""#, "verdict: unknown variant `new`"),
            (r#"{"wire":1,"verdict":"ok"}"#, "17", "invalid type: integer `17`, expected a string"),
            (r#"{"wire":1, "verdict":"error"}"#, "17", "invalid type: integer `17`, expected a string"),
        ] {
            let result = answered(&rig, &bus, &tap, head, body).await;
            let Err(CallError::BadResponse(error)) = result else { panic!("{result:?}") };
            assert!(error.starts_with(expected), "{error}");
        }
        let result = answered(
            &rig,
            &bus,
            &tap,
            r#"{"wire":1,"verdict":"ok"}"#,
            &format!("\"{}\"", "x".repeat(2_000_000)),
        )
        .await;
        let Err(CallError::BadResponse(error)) = result else { panic!("{result:?}") };
        assert_eq!(error, "is 2000027 bytes long: expected at most 1048576");
        let spaced = answered(&rig, &bus, &tap, r#"{ "verdict": "ok", "wire": 1 }"#, r#""a""#).await;
        assert_eq!(spaced, Ok("a".to_owned()));
        for (verdict, error) in [
            ("panicked", CallError::Panicked),
            ("abandoned", CallError::Abandoned),
            ("overloaded", CallError::Overloaded("why\u{fffd}".to_owned())),
            ("bad_request", CallError::BadRequest("why\u{fffd}".to_owned())),
            ("bad_response", CallError::BadResponse("why\u{fffd}".to_owned())),
            ("too_deep", CallError::TooDeep { depth: 0, limit: 32 }),
        ] {
            let head = format!(r#"{{"wire":1,"verdict":"{verdict}","detail":"why\n"}}"#);
            assert_eq!(answered(&rig, &bus, &tap, &head, "").await, Err(error));
        }
    });
}

/// What a call makes of this answer.
async fn answered(
    rig: &calling::Rig,
    bus: &logcontext_bus::Bus,
    tap: &Tap,
    head: &str,
    body: &str,
) -> Result<String, CallError<String>> {
    let call = logcontext::run_in_background(bus.call(echo("")).into_future());
    rig.until(|| tap.inbox().waiting() == 1).await;
    let message =
        logcontext_bus::transport::Message { head: head.to_owned().into(), body: body.to_owned().into() };
    rig.until(|| tap.transport().last_call().is_some()).await;
    let number = tap.transport().take_last_call().unwrap();
    assert!(tap.inbox().reply(number, message.clone()));
    assert!(!tap.inbox().reply(number, message), "it was answered");
    call.await.unwrap()
}

#[test]
fn what_cannot_be_sent_is_not() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Strict {
        #[schemars(length(max = 3))]
        name: String,
    }
    impl Rpc for Strict {
        const NAME: &str = "test.strict";
        type Response = ();
        type Error = String;
    }
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Wrapped(Writes);
    impl Rpc for Wrapped {
        const NAME: &str = "test.wrapped";
        type Response = ();
        type Error = String;
    }
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change { loses_calls: true, ..Change::default() });
        let strict = bus.call(Strict { name: "long".to_owned() }).await.unwrap_err();
        let expected = r#"is not as its schema wants it: name: "long" is longer than 3 characters"#;
        assert_eq!(strict.to_string(), expected);
        let wrapped = bus.call(Wrapped(Writes("fails".to_owned()))).await.unwrap_err();
        assert_eq!(wrapped, CallError::Encode("cannot".to_owned()));
        let large = bus.call(echo(&"x".repeat(2_000_000))).await.unwrap_err();
        assert!(matches!(large, CallError::TooLarge { limit: 1_048_576, .. }));
        assert_eq!(tap.inbox().waiting(), 0);
        assert_eq!(figure(rig.kit.supervisor(), "bus_calls", &[("ending", "bad_request")]), 3);
    });
}

#[test]
fn a_request_that_is_not_as_the_schema_wants_it_is_refused_by_who_serves_it() {
    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    struct Theirs {
        #[schemars(length(max = 3))]
        name: String,
    }
    impl Rpc for Theirs {
        const NAME: &str = "test.same";
        type Response = ();
        type Error = String;
    }
    on_both_runtimes(|rig| async move {
        let (bus, tap) = rig.tapped(Change::default());
        let served = bus.serve::<Theirs>(|_| async { Ok(()) }).start().await.unwrap();
        for (n, (name, reply)) in [
            ("abc", r#"{"wire":1,"verdict":"ok"}"#),
            (
                "long",
                r#"{"wire":1,"verdict":"bad_request","detail":"name: \"long\" is longer than 3 characters"}"#,
            ),
        ]
        .iter()
        .enumerate()
        {
            let body = format!(r#"{{"name":"{name}"}}"#);
            tap.send("test.same", n as u64, &head("test.echo", "test.same"), &body).await;
            rig.until(|| tap.replies().len() == n + 1).await;
            assert_eq!(&tap.replies()[n].0, reply);
        }
        served.stop().await;
    });
}

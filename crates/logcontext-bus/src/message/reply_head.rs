//! The heads of answers, written and read at each of them: without a detour through values, where they are as we write
//! them.

use serde::{Deserialize, Serialize};

use super::cost::Cost;
use super::decode;
use super::head::WIRE;
use super::plain::{field, take_field, take_text};

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// The body is the response.
    Ok,
    /// The body is the handler's error.
    Error,
    Panicked,
    BadRequest,
    TooDeep,
    Overloaded,
    /// The handler's answer cannot be sent.
    BadResponse,
    /// Its service is shutting down.
    Abandoned,
    /// It came too late, or took too long.
    Expired,
}

impl Verdict {
    /// All of them, as they are called in heads.
    const NAMES: [(Self, &str); 9] = [
        (Self::Ok, "ok"),
        (Self::Error, "error"),
        (Self::Panicked, "panicked"),
        (Self::BadRequest, "bad_request"),
        (Self::TooDeep, "too_deep"),
        (Self::Overloaded, "overloaded"),
        (Self::BadResponse, "bad_response"),
        (Self::Abandoned, "abandoned"),
        (Self::Expired, "expired"),
    ];

    fn name(self) -> &'static str {
        Self::NAMES[self as usize].1
    }

    fn of(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(verdict, _)| *verdict)
    }
}

/// Of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplyHead {
    wire: u32,
    pub(crate) verdict: Verdict,
    /// What was wrong, for whoever called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<Box<str>>,
    /// Absent where nobody has said, or nobody can read it: an answer is one whatever it says of that.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) cost: Option<Cost>,
}

/// Whatever else a head says.
#[derive(Deserialize)]
struct CostAlone {
    cost: Cost,
}

impl ReplyHead {
    /// Of an answer that says nothing of its cost.
    pub(crate) const OK: &[u8] = br#"{"wire":1,"verdict":"ok"}"#;

    pub(crate) fn new(verdict: Verdict, detail: Option<Box<str>>, cost: Option<Cost>) -> Self {
        Self { wire: WIRE, verdict, detail, cost }
    }

    /// Writes it, behind what is there.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(BEGIN.as_bytes());
        out.extend_from_slice(self.verdict.name().as_bytes());
        out.push(b'"');
        if let Some(detail) = &self.detail {
            field(out, DETAIL, detail);
        }
        if let Some(cost) = &self.cost {
            out.extend_from_slice(COST.as_bytes());
            cost.write(out);
        }
        out.push(b'}');
    }

    /// # Errors
    /// If it is none: which field, and what was expected.
    pub(crate) fn read(head: &[u8]) -> Result<Self, String> {
        if let Some(ours) = Self::read_ours(head) {
            return Ok(ours);
        }
        let mut any: Self = decode(head)?;
        if any.wire != WIRE {
            return Err(format!("is of version {} of the bus: expected {WIRE}", any.wire));
        }
        any.cost = serde_json::from_slice(head).ok().map(|CostAlone { cost }| cost);
        Ok(any)
    }

    /// Reads what [`write`](Self::write) has written. `None` of anything else.
    fn read_ours(head: &[u8]) -> Option<Self> {
        if head == Self::OK {
            return Some(Self::new(Verdict::Ok, None, None));
        }
        // Without its quotation mark.
        let rest = std::str::from_utf8(head).ok()?.strip_prefix(&BEGIN[..BEGIN.len() - 1])?;
        let (verdict, rest) = take_text(rest)?;
        let (detail, rest) = take_field(rest, DETAIL)?;
        let (cost, rest) = match rest.strip_prefix(COST) {
            Some(cost) => Cost::take(cost).map(|(cost, rest)| (Some(cost), rest))?,
            None => (None, rest),
        };
        (rest == "}").then_some(Self::new(Verdict::of(verdict)?, detail.map(Into::into), cost))
    }
}

const BEGIN: &str = r#"{"wire":1,"verdict":""#;
const DETAIL: &str = r#","detail":"#;
const COST: &str = r#","cost":"#;

#[cfg(test)]
mod tests {
    use logcontext::RemoteUsage;
    use proptest::prelude::*;

    use super::*;
    use crate::message::encode;

    fn written(head: &ReplyHead) -> Vec<u8> {
        let mut out = b"body".to_vec();
        head.write(&mut out);
        assert!(out.starts_with(b"body"));
        out.split_off(4)
    }

    fn costs() -> impl Strategy<Value = Option<Cost>> {
        let number = || prop_oneof![Just(0), 1..100_000_u64, any::<u64>()];
        let measured = || prop_oneof![1 => Just(None), 3 => number().prop_map(Some)];
        let fields = (measured(), number(), number(), measured(), number(), number());
        let cost = fields.prop_map(|(cpu, txns, txn, wait, calls, unknown)| {
            let json = serde_json::json!({
                "cpu_ns": cpu, "db_txns": txns, "db_txn_ns": txn, "db_wait_ns": wait, "calls": calls,
                "unknown": unknown,
            });
            serde_json::from_value::<Cost>(json).unwrap()
        });
        prop::option::of(cost)
    }

    fn heads() -> impl Strategy<Value = ReplyHead> {
        let verdict = (0..Verdict::NAMES.len()).prop_map(|at| Verdict::NAMES[at].0);
        let detail = prop::option::of("[ -~]{0,30}|.{0,30}");
        (verdict, detail, costs())
            .prop_map(|(verdict, detail, cost)| ReplyHead::new(verdict, detail.map(Into::into), cost))
    }

    proptest! {
        #[test]
        fn a_head_is_written_as_its_value_would_be_and_read_as_that(head in heads()) {
            let written = written(&head);
            prop_assert_eq!(&written, &encode(&head).unwrap());
            prop_assert_eq!(ReplyHead::read(&written).unwrap(), head.clone());
            if head.detail.is_none() {
                prop_assert_eq!(ReplyHead::read_ours(&written), Some(head.clone()));
            }
            // The long way comes to the same.
            let spaced = [b" ", &*written].concat();
            prop_assert_eq!(ReplyHead::read_ours(&spaced), None);
            prop_assert_eq!(ReplyHead::read(&spaced).unwrap(), head);
        }

        #[test]
        fn what_is_read_in_the_short_way_is_read_so_in_the_long_one(
            head in heads(), at in 0..200_usize, bytes in "[0-9,:\\\\\"{}a-f \n-]{0,3}", removed in 0..3_usize,
        ) {
            let mut written = written(&head);
            let at = at.min(written.len());
            let end = (at + removed).min(written.len());
            written.splice(at..end, bytes.bytes());
            if let Some(ours) = ReplyHead::read_ours(&written) {
                prop_assert_eq!(ReplyHead::read(&[b" ", &*written].concat()), Ok(ours));
            }
        }

        #[test]
        fn whatever_is_said_of_the_cost_an_answer_is_one(cost in "[-0-9a-z\":,{}.]{0,20}") {
            let head = format!(r#"{{"wire":1,"verdict":"ok","cost":{cost}}}"#);
            if serde_json::from_str::<serde::de::IgnoredAny>(&head).is_ok() {
                prop_assert_eq!(ReplyHead::read(head.as_bytes()).unwrap().verdict, Verdict::Ok);
            }
        }
    }

    #[test]
    fn verdicts_are_called_what_their_values_are_called() {
        for (at, (verdict, name)) in Verdict::NAMES.into_iter().enumerate() {
            assert_eq!((verdict as usize, verdict.name()), (at, name));
            assert_eq!(encode(&verdict).unwrap(), format!("{name:?}"));
        }
    }

    #[test]
    fn the_head_of_an_answer_without_a_cost_is_as_it_would_be_written() {
        assert_eq!(written(&ReplyHead::new(Verdict::Ok, None, None)), ReplyHead::OK);
        assert!(BEGIN.contains(&format!(r#""wire":{WIRE},"#)));
    }

    #[test]
    fn a_cost_that_nobody_can_read_is_not_known_and_the_answer_is_one() {
        let bad = [
            "-5",
            "null",
            "[]",
            r#"{"cpu_ns":-5}"#,
            r#"{"cpu_ns":1.5}"#,
            r#"{"cpu_ns":1e999}"#,
            r#"{"cpu_ns":"5"}"#,
            r#"{"cpu_ns":18446744073709551616}"#,
            r#"{"cpu_ns":1,"cpu_ns":2}"#,
        ];
        for cost in bad {
            let head = format!(r#"{{"wire":1,"verdict":"error","cost":{cost}}}"#);
            let read = ReplyHead::read(head.as_bytes()).expect(cost);
            let cost_of = read.cost.map_or_else(RemoteUsage::unknown, Cost::to_remote);
            assert_eq!((read.verdict, cost_of), (Verdict::Error, RemoteUsage::unknown()), "{cost}");
        }
        let later = br#"{"wire":1,"verdict":"ok","cost":{"cpu_ns":5,"gpu_ns":7},"more":1}"#;
        assert_ne!(ReplyHead::read(later).unwrap().cost, None, "what a later version adds is left out");
    }
}

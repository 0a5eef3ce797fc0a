//! What a call has cost, as its answer says it.

use std::time::Duration;

use logcontext::{RemoteUsage, ResourceUsage};
use serde::{Deserialize, Serialize};

use super::plain::{number, take_number};

/// What a call has cost, with all that it has caused elsewhere in turn. Times are in nanoseconds; those that were not
/// measured are absent. Counts that are not there are zero: whoever answers knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cpu_ns: Option<u64>,
    #[serde(default, skip_serializing_if = "is_zero")]
    db_txns: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    db_txn_ns: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    db_wait_ns: Option<u64>,
    /// Calls below this one whose cost is in here.
    #[serde(default, skip_serializing_if = "is_zero")]
    calls: u64,
    /// Calls below this one whose cost nobody knows.
    #[serde(default, skip_serializing_if = "is_zero")]
    unknown: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The fields, in the order in which they are written.
const NAMES: [&str; 6] =
    [r#""cpu_ns":"#, r#""db_txns":"#, r#""db_txn_ns":"#, r#""db_wait_ns":"#, r#""calls":"#, r#""unknown":"#];

impl Cost {
    /// Of a handler's context.
    pub(crate) fn of(usage: &ResourceUsage) -> Self {
        let cost = RemoteUsage::of(usage);
        Self {
            cpu_ns: cost.cpu().map(nanos),
            db_txns: cost.db_txn_count,
            db_txn_ns: nanos(cost.db_txn_duration),
            db_wait_ns: cost.db_wait().map(nanos),
            calls: cost.calls - 1,
            unknown: cost.unknown,
        }
    }

    /// What it means to who has called. What says nothing, or cannot be, is a cost that is not known.
    pub(crate) fn to_remote(self) -> RemoteUsage {
        if self == Self::default() {
            return RemoteUsage::unknown();
        }
        let mut cost = RemoteUsage::call().with_db_txns(self.db_txns, Duration::from_nanos(self.db_txn_ns));
        cost.calls = cost.calls.saturating_add(self.calls);
        cost.unknown = self.unknown;
        if let Some(cpu) = self.cpu_ns {
            cost = cost.with_cpu(Duration::from_nanos(cpu));
        }
        if let Some(wait) = self.db_wait_ns {
            cost = cost.with_db_wait(Duration::from_nanos(wait));
        }
        cost.or_unknown()
    }

    fn fields(&self) -> [Option<u64>; NAMES.len()] {
        let count = |number| (number > 0).then_some(number);
        [
            self.cpu_ns,
            count(self.db_txns),
            count(self.db_txn_ns),
            self.db_wait_ns,
            count(self.calls),
            count(self.unknown),
        ]
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut before = b'{';
        for (name, value) in NAMES.iter().zip(self.fields()) {
            if let Some(value) = value {
                out.push(before);
                out.extend_from_slice(name.as_bytes());
                number(out, value);
                before = b',';
            }
        }
        out.extend_from_slice(if before == b'{' { b"{}" } else { b"}" });
    }

    /// Reads what [`write`](Self::write) has written, and answers what is behind it. `None` of anything else.
    pub(super) fn take(text: &str) -> Option<(Self, &str)> {
        let mut fields = [None; NAMES.len()];
        let mut rest = text.strip_prefix('{')?;
        let mut is_first = true;
        for (name, field) in NAMES.iter().zip(&mut fields) {
            let here = if is_first { Some(rest) } else { rest.strip_prefix(',') };
            if let Some(value) = here.and_then(|here| here.strip_prefix(name)) {
                let (value, after) = take_number(value)?;
                (*field, rest, is_first) = (Some(value), after, false);
            }
        }
        let [cpu_ns, db_txns, db_txn_ns, db_wait_ns, calls, unknown] = fields;
        let count = Option::unwrap_or_default;
        let cost = Self {
            cpu_ns,
            db_txns: count(db_txns),
            db_txn_ns: count(db_txn_ns),
            db_wait_ns,
            calls: count(calls),
            unknown: count(unknown),
        };
        Some((cost, rest.strip_prefix('}')?))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use logcontext::LogContext;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    #[test]
    fn what_a_handler_has_cost_is_what_its_caller_is_charged() {
        let handler = LogContext::new("presence.get-1");
        handler.charge_cpu(3 * MILLI);
        handler.record_db_transaction(2 * MILLI);
        handler.record_db_wait(MILLI);
        let below = RemoteUsage::call().with_cpu(5 * MILLI).with_db_txns(4, MILLI);
        handler.record_remote(&(below + RemoteUsage::unknown()));
        let came_home = Cost::of(&handler.usage()).to_remote();
        assert_eq!((came_home.calls, came_home.unknown, came_home.db_txn_count), (2, 1, 5));
        assert_eq!((came_home.db_txn_duration, came_home.db_wait()), (3 * MILLI, Some(MILLI)));
        let own = handler.usage().cpu().unwrap_or_default();
        assert_eq!(came_home.cpu(), Some(own + 5 * MILLI));
    }

    #[test]
    fn what_was_not_measured_is_absent_and_what_was_nothing_is_there() {
        let cost = |json| serde_json::from_str::<Cost>(json).unwrap().to_remote();
        let nothing = cost(r#"{"cpu_ns":0}"#);
        assert_eq!((nothing.calls, nothing.cpu(), nothing.db_wait()), (1, Some(Duration::ZERO), None));
        assert_eq!(cost(r#"{"db_txns":1}"#).cpu(), None);
        assert_eq!(cost("{}"), RemoteUsage::unknown());
    }

    #[test]
    fn what_cannot_be_is_not_known() {
        let lies = [
            r#"{"cpu_ns":3600000000001}"#,
            r#"{"cpu_ns":18446744073709551615}"#,
            r#"{"db_wait_ns":3600000000001}"#,
            r#"{"db_txn_ns":3600000000001}"#,
            r#"{"db_txns":1000001}"#,
            r#"{"calls":1000000}"#,
            r#"{"calls":18446744073709551615}"#,
            r#"{"unknown":1000001}"#,
        ];
        for lie in lies {
            let cost: Cost = serde_json::from_str(lie).unwrap();
            assert_eq!(cost.to_remote(), RemoteUsage::unknown(), "{lie}");
        }
    }
}

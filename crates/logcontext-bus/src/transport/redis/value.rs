//! What the broker answers, read without trust.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use redis::Value;

use crate::transport::EventId;

pub(super) fn bytes(value: Value) -> Option<Bytes> {
    match value {
        Value::BulkString(bytes) => Some(bytes.into()),
        Value::SimpleString(text) => Some(text.into_bytes().into()),
        _ => None,
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(integer) => Some(*integer),
        other => text(other)?.parse().ok(),
    }
}

pub(super) fn count(value: &Value) -> Option<u64> {
    integer(value)?.try_into().ok()
}

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Some(values),
        // As other versions of the protocol write a map.
        Value::Map(pairs) => Some(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        Value::Nil => Some(Vec::new()),
        _ => None,
    }
}

pub(super) fn array<const N: usize>(value: Value) -> Option<[Value; N]> {
    list(value)?.try_into().ok()
}

/// What stands for this key in a list of keys and values.
pub(super) fn field(fields: &mut [Value], key: &str) -> Option<Value> {
    let mut pairs = fields.chunks_exact_mut(2);
    pairs.find(|pair| text(&pair[0]) == Some(key)).map(|pair| std::mem::replace(&mut pair[1], Value::Nil))
}

pub(super) fn id(value: &Value) -> Option<EventId> {
    text(value)?.parse().ok()
}

/// When the broker got it.
pub(super) fn at(id: EventId) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(id.0)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_in_either_version_of_the_protocol() {
        let (key, value) = (Value::BulkString(b"lag".to_vec()), Value::Int(7));
        for mut fields in [
            list(Value::Array(vec![Value::Int(1), Value::Nil, key.clone(), value.clone()])).unwrap(),
            list(Value::Map(vec![(Value::Int(1), Value::Nil), (key, value)])).unwrap(),
        ] {
            assert_eq!(field(&mut fields, "lag").as_ref().and_then(count), Some(7));
            assert_eq!(field(&mut fields, "other"), None);
        }
    }

    #[test]
    fn what_is_of_another_kind_is_nothing() {
        for value in [Value::Nil, Value::Int(-1), Value::Okay, Value::BulkString(vec![0xff])] {
            assert_eq!((count(&value), id(&value)), (None, None), "{value:?}");
        }
        assert_eq!(list(Value::Int(1)), None);
        assert_eq!(array::<2>(Value::Array(vec![Value::Nil])), None);
    }
}

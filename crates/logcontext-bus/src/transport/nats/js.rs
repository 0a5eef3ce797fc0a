//! What JetStream is asked, and what it answers. Only what version 2.9 knows is asked.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::failure::Failure;
use super::wire::Ask;

/// Asks its API.
fn api(what: &str, body: &Value) -> Ask {
    Ask { subject: format!("$JS.API.{what}"), headers: None, payload: body.to_string().into() }
}

/// Where pulls of a consumer go.
pub(super) fn pull_subject(stream: &str, consumer: &str) -> String {
    format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}")
}

pub(super) fn create_stream(name: &str, config: &Value) -> Ask {
    api(&format!("STREAM.CREATE.{name}"), config)
}

pub(super) fn stream_info(name: &str, subjects: Option<&str>) -> Ask {
    let subjects =
        subjects.map_or(json!({}), |filter| json!({"subjects_filter": filter, "deleted_details": true}));
    api(&format!("STREAM.INFO.{name}"), &subjects)
}

/// The names of all streams with such subjects, from so many on.
pub(super) fn stream_names(subjects: &str, offset: u64) -> Ask {
    api("STREAM.NAMES", &json!({"subject": subjects, "offset": offset}))
}

/// Forgets all messages, or those of this subject, or those before this one.
pub(super) fn purge(stream: &str, filter: Option<&str>, before: Option<u64>) -> Ask {
    let mut body = json!({});
    if let Some(filter) = filter {
        body["filter"] = filter.into();
    }
    if let Some(before) = before {
        body["seq"] = before.into();
    }
    api(&format!("STREAM.PURGE.{stream}"), &body)
}

pub(super) fn delete_message(stream: &str, sequence: u64) -> Ask {
    api(&format!("STREAM.MSG.DELETE.{stream}"), &json!({"seq": sequence, "no_erase": true}))
}

/// What of a stream is wanted.
pub(super) enum Get<'a> {
    /// The one with this number.
    At(u64),
    /// The first of this subject, from this number on.
    From(u64, &'a str),
    /// The last of this subject.
    Last(&'a str),
}

pub(super) fn get(stream: &str, what: &Get<'_>) -> Ask {
    let body = match what {
        Get::At(sequence) => json!({"seq": sequence}),
        Get::From(sequence, subject) => json!({"seq": sequence, "next_by_subj": subject}),
        Get::Last(subject) => json!({"last_by_subj": subject}),
    };
    api(&format!("DIRECT.GET.{stream}"), &body)
}

pub(super) fn create_consumer(stream: &str, name: &str, config: &Value) -> Ask {
    let body = json!({"stream_name": stream, "config": config});
    api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), &body)
}

/// One that goes away by itself.
pub(super) fn create_passing_consumer(stream: &str, config: &Value) -> Ask {
    api(&format!("CONSUMER.CREATE.{stream}"), &json!({"stream_name": stream, "config": config}))
}

pub(super) fn consumer_info(stream: &str, name: &str) -> Ask {
    api(&format!("CONSUMER.INFO.{stream}.{name}"), &json!({}))
}

/// All consumers of a stream, from so many on.
pub(super) fn consumers(stream: &str, offset: u64) -> Ask {
    api(&format!("CONSUMER.LIST.{stream}"), &json!({"offset": offset}))
}

pub(super) fn delete_consumer(stream: &str, name: &str) -> Ask {
    api(&format!("CONSUMER.DELETE.{stream}.{name}"), &json!({}))
}

/// Stores a message.
pub(super) fn store(subject: String, payload: impl Into<Bytes>) -> Ask {
    Ask { subject, headers: None, payload: payload.into() }
}

/// The same, with a header.
pub(super) fn store_with(
    subject: String,
    payload: impl Into<Bytes>,
    header: &'static str,
    value: &str,
) -> Ask {
    let mut headers = HeaderMap::new();
    headers.insert(header, value);
    Ask { headers: Some(headers), ..store(subject, payload) }
}

/// Stored once only, within two minutes.
pub(super) const ONCE: &str = "Nats-Msg-Id";

/// Stored only if the last of this subject has this number.
pub(super) const AFTER: &str = "Nats-Expected-Last-Subject-Sequence";

/// What it says, if that is no error.
pub(super) fn read<T: DeserializeOwned>(answer: &Message) -> Result<T, Failure> {
    #[derive(Deserialize)]
    struct Said {
        error: Option<Error>,
    }
    #[derive(Deserialize)]
    struct Error {
        #[serde(default)]
        code: u64,
        #[serde(default)]
        err_code: u64,
        #[serde(default)]
        description: String,
    }
    let odd = |_| Failure::Refused("an answer that cannot be read".to_owned());
    let said: Said = serde_json::from_slice(&answer.payload).map_err(odd)?;
    if let Some(Error { code, err_code, description }) = said.error {
        let number = if err_code == 0 { code } else { err_code };
        return Err(Failure::Error { number, text: crate::message::printable(&description).into() });
    }
    serde_json::from_slice(&answer.payload).map_err(odd)
}

/// Where a message was stored.
#[derive(Deserialize)]
pub(super) struct Stored {
    pub(super) seq: u64,
}

/// What is in a stream.
#[derive(Deserialize)]
pub(super) struct StreamInfo {
    pub(super) state: StreamState,
}

#[derive(Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    #[serde(default)]
    pub(super) num_deleted: u64,
    #[serde(default)]
    pub(super) deleted: Option<Vec<u64>>,
    #[serde(default)]
    pub(super) subjects: std::collections::BTreeMap<String, u64>,
}

#[derive(Deserialize)]
pub(super) struct StreamNames {
    #[serde(default)]
    pub(super) total: u64,
    pub(super) streams: Option<Vec<String>>,
}

/// How far a consumer is.
#[derive(Clone, Deserialize)]
pub(super) struct ConsumerInfo {
    pub(super) name: String,
    pub(super) config: Value,
    pub(super) delivered: Sequences,
    pub(super) ack_floor: Sequences,
    pub(super) num_ack_pending: u64,
    pub(super) num_pending: u64,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct Sequences {
    pub(super) consumer_seq: u64,
    pub(super) stream_seq: u64,
}

#[derive(Deserialize)]
pub(super) struct ConsumerList {
    #[serde(default)]
    pub(super) total: u64,
    pub(super) consumers: Option<Vec<ConsumerInfo>>,
}

/// Anything that is no error.
#[derive(Deserialize)]
pub(super) struct Done {}

/// So many were forgotten.
#[derive(Deserialize)]
pub(super) struct Purged {
    pub(super) purged: u64,
}

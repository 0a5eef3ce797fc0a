//! [`Outgoing`]: a state on its way to hubs, written once for all of them.

use std::sync::Arc;

use bytes::Bytes;

use crate::federation::ToldState;
use crate::time::Timestamp;
use crate::user::UserId;

/// A state as it is sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outgoing {
    pub(super) user: UserId,
    pub(super) revision: i64,
    /// It was not changed before that.
    pub(super) last_active: Timestamp,
    json: Box<str>,
}

impl Outgoing {
    pub(super) fn new(state: &ToldState) -> Arc<Self> {
        let json = serde_json::to_string(state).expect("texts and numbers are JSON").into();
        let ToldState { user, revision, last_active, .. } = state;
        Arc::new(Self { user: user.clone(), revision: *revision, last_active: *last_active, json })
    }
}

/// The body of a transaction.
pub(super) fn body<'a>(states: impl IntoIterator<Item = &'a Outgoing>) -> Bytes {
    let mut text = r#"{"states":["#.to_owned();
    for (n, state) in states.into_iter().enumerate() {
        if n > 0 {
            text.push(',');
        }
        text.push_str(&state.json);
    }
    text.push_str("]}");
    text.into()
}

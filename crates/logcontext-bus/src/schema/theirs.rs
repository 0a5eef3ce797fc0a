//! What a server wants requests to be like, where that is not what its callers think.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::check::Check;
use super::shape;
use crate::rpc::Rpc;

/// What the servers of one call want requests to be like. Until that is known they want what callers think.
#[derive(Debug)]
pub(crate) struct Theirs {
    ours: Value,
    differs: AtomicBool,
    check: RwLock<Option<Arc<Check>>>,
}

impl Theirs {
    pub(crate) fn of<R: Rpc>() -> Self {
        Self { ours: shape::of_rpc::<R>(), differs: AtomicBool::new(false), check: RwLock::default() }
    }

    /// # Errors
    /// Which field of a request they would refuse, and what they expect.
    #[inline]
    pub(crate) fn check(&self, json: &[u8]) -> Result<(), String> {
        if !self.differs.load(Relaxed) {
            return Ok(());
        }
        let check = self.check.read().unwrap_or_else(PoisonError::into_inner).clone();
        check.map_or(Ok(()), |check| check.check(json))
    }

    /// Notes what a server has said of itself, as [`of_rpc`](shape::of_rpc) does; or that none has.
    pub(crate) fn found(&self, theirs: Option<&str>) {
        let theirs: Option<Value> = theirs.and_then(|text| serde_json::from_str(text).ok());
        let request = theirs.as_ref().and_then(|theirs| theirs.get("request"));
        let other = request.filter(|request| Some(*request) != self.ours.get("request"));
        let check = other.map(|schema| Arc::new(Check::all_of(schema)));
        let differs = check.is_some();
        *self.check.write().unwrap_or_else(PoisonError::into_inner) = check;
        self.differs.store(differs, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Get {
        user: String,
    }

    impl Rpc for Get {
        const NAME: &'static str = "get";
        type Response = bool;
        type Error = String;
    }

    #[test]
    fn only_a_schema_that_differs_is_checked() {
        let theirs = Theirs::of::<Get>();
        theirs.found(Some(&shape::of_rpc::<Get>().to_string()));
        assert!(!theirs.differs.load(Relaxed));
        theirs.found(Some(r#"{"request":{"type":"object","required":["room"]}}"#));
        assert_eq!(theirs.check(b"{}").unwrap_err(), r#""room" is a required property"#);
        assert_eq!(theirs.check(br#"{"room":1}"#), Ok(()));
        for nothing in [None, Some("no JSON"), Some("17"), Some(r#"{"request":{"type":17}}"#)] {
            theirs.found(nothing);
            assert_eq!(theirs.check(b"{}"), Ok(()), "{nothing:?}");
        }
    }
}

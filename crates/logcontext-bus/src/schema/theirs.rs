//! What a server wants requests to be like, where that is not what its callers think.

use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::check::Check;

/// So long what was found counts.
const FRESH: Duration = Duration::from_secs(60);

/// What servers have stored of the requests they want.
#[derive(Debug, Default)]
pub(crate) struct Theirs {
    by_name: Mutex<FxHashMap<&'static str, Found>>,
}

#[derive(Debug)]
struct Found {
    at: Instant,
    /// `None`: they want what we send, or have said nothing.
    check: Option<Arc<Check>>,
}

impl Theirs {
    /// The check for requests of this name, if theirs is another than ours; and whether it is time to look again.
    /// Whoever is told so does.
    pub(crate) fn get(&self, rpc: &'static str) -> (Option<Arc<Check>>, bool) {
        let now = Instant::now();
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        match by_name.get_mut(rpc) {
            Some(found) => {
                let is_old = now.saturating_duration_since(found.at) >= FRESH;
                if is_old {
                    found.at = now;
                }
                (found.check.clone(), is_old)
            }
            None => {
                by_name.insert(rpc, Found { at: now, check: None });
                (None, true)
            }
        }
    }

    /// Notes what a server has stored, as [`of_rpc`](super::of_rpc) says it of itself.
    pub(crate) fn found(&self, rpc: &'static str, ours: &Value, theirs: Option<&str>) {
        let theirs: Option<Value> = theirs.and_then(|text| serde_json::from_str(text).ok());
        let request = theirs.as_ref().and_then(|theirs| theirs.get("request"));
        let other = request.filter(|request| Some(*request) != ours.get("request"));
        let check = other.map(|schema| Arc::new(Check::all_of(schema)));
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        by_name.insert(rpc, Found { at: Instant::now(), check });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_for_once_a_minute() {
        let theirs = Theirs::default();
        assert!(theirs.get("a").1);
        assert!(!theirs.get("a").1, "somebody does already");
        tokio::time::advance(FRESH).await;
        assert!(theirs.get("a").1);
        assert!(!theirs.get("a").1);
    }

    #[tokio::test]
    async fn only_a_schema_that_differs_is_checked() {
        let theirs = Theirs::default();
        let ours = json!({ "request": { "type": "object" } });
        theirs.found("a", &ours, Some(&ours.to_string()));
        assert!(theirs.get("a").0.is_none());
        theirs.found("a", &ours, Some(r#"{"request":{"type":"object","required":["user"]}}"#));
        let check = theirs.get("a").0.unwrap();
        assert_eq!(check.check(b"{}").unwrap_err(), r#""user" is a required property"#);
        for nothing in [None, Some("no JSON"), Some("17"), Some(r#"{"request":{"type":17}}"#)] {
            theirs.found("a", &ours, nothing);
            assert!(theirs.get("a").0.is_none_or(|check| check.check(b"{}").is_ok()), "{nothing:?}");
        }
    }
}

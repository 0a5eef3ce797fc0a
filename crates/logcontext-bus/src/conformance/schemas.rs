//! Schemas are kept for those who send.

use super::Case;
use super::case::soon;
use super::peer::Peer;

impl Peer {
    async fn put(&self, name: &str, schema: &str) {
        soon("a schema is kept", self.transport.schemas().put(name, schema.to_owned()))
            .await
            .expect("it is kept");
    }

    async fn schema(&self, name: &str) -> Option<String> {
        soon("a schema", self.transport.schemas().get(name)).await.expect("a schema")
    }
}

/// Whoever asks gets it, also when its keeper has gone.
pub async fn a_schema_is_kept_for_others(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    assert_eq!(b.schema("event conformance.event").await, None);
    a.put("event conformance.event", r#"{"type":"object"}"#).await;
    a.put("call conformance.event", "true").await;
    drop(a);
    assert_eq!(b.schema("event conformance.event").await.as_deref(), Some(r#"{"type":"object"}"#));
    assert_eq!(b.schema("call conformance.event").await.as_deref(), Some("true"));
    assert_eq!(b.schema("conformance.event").await, None);
}

/// The newest counts.
pub async fn a_schema_takes_the_place_of_the_one_before(case: Case) {
    let (a, b) = (case.connect(), case.connect());
    a.put("event conformance.event", "1").await;
    b.put("event conformance.event", "2").await;
    assert_eq!(a.schema("event conformance.event").await.as_deref(), Some("2"));
}

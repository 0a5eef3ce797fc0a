//! Keeps schemas: the last word counts.

use super::NatsTransport;
use super::gate::Kind;
use super::js;
use crate::transport::{Doing, Schemas};

impl Schemas for NatsTransport {
    fn put(&self, name: &str, schema: String) -> Doing<'_, ()> {
        let put = js::store(self.shared.names.schema(name), schema);
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            Ok(self.shared.store(&self.shared.kept_stream(), &put).await.map(drop)?)
        })
    }

    fn get(&self, name: &str) -> Doing<'_, Option<String>> {
        let subject = self.shared.names.schema(name);
        Box::pin(async move {
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            let wire = self.shared.wire().await?;
            let found = self.shared.last(&wire, &subject).await?;
            Ok(found.and_then(|found| String::from_utf8(found.payload.to_vec()).ok()))
        })
    }
}

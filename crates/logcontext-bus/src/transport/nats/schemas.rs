//! Keeps schemas: the last word counts.

use super::NatsTransport;
use super::failure::Failure;
use super::gate::Kind;
use super::js::{self, Get};
use crate::transport::{Doing, Schemas};

impl Schemas for NatsTransport {
    fn put(&self, name: &str, schema: String) -> Doing<'_, ()> {
        let put = js::store(self.shared.names.schema(name), schema);
        Box::pin(async move {
            let _place = self.shared.gate.enter(Kind::Upkeep).await?;
            Ok(self.shared.store(&self.shared.kept_stream(), &put).await.map(drop)?)
        })
    }

    fn get(&self, name: &str) -> Doing<'_, Option<String>> {
        let subject = self.shared.names.schema(name);
        let get = js::get(&self.shared.names.kept(), &Get::Last(&subject));
        Box::pin(async move {
            match self.shared.look(&get).await {
                Ok(found) if found.status.is_none() => Ok(String::from_utf8(found.payload.to_vec()).ok()),
                Ok(_) | Err(Failure::Nobody) => Ok(None),
                Err(failure) => Err(failure.into()),
            }
        })
    }
}

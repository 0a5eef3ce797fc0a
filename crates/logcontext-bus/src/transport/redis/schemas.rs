//! Keeps schemas, in one hash.

use redis::cmd;

use super::{RedisTransport, value};
use crate::transport::{Doing, Schemas};

impl Schemas for RedisTransport {
    fn put(&self, name: &str, schema: String) -> Doing<'_, ()> {
        let mut set = cmd("HSET");
        set.arg(self.shared.keys.schemas()).arg(name).arg(schema);
        Box::pin(async move { self.shared.queues.look(set).await.map(drop) })
    }

    fn get(&self, name: &str) -> Doing<'_, Option<String>> {
        let mut get = cmd("HGET");
        get.arg(self.shared.keys.schemas()).arg(name);
        Box::pin(async move { Ok(value::text(&self.shared.queues.look(get).await?).map(str::to_owned)) })
    }
}

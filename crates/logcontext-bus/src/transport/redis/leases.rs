//! Leases: keys that go away by themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};

use super::shared::Shared;
use super::{RedisTransport, scripts, value};
use crate::transport::{Doing, Lease, Leases};

impl Leases for RedisTransport {
    fn acquire(&self, name: &str, time: Duration) -> Doing<'_, Option<Arc<dyn Lease>>> {
        let key = self.shared.keys.lease(name);
        let token = format!("{}:{:016x}", self.shared.identity, fastrand::u64(..));
        let time = milliseconds(time);
        Box::pin(async move {
            let mut set = cmd("SET");
            set.arg(&key).arg(&token).arg("NX").arg("PX").arg(time);
            let is_ours = self.shared.queues.look(set).await? == Value::Okay;
            let lease = || Held { key, token, time, shared: Arc::clone(&self.shared) };
            Ok(is_ours.then(|| Arc::new(lease()) as Arc<dyn Lease>))
        })
    }

    fn take_part(&self, name: &str, time: Duration) -> Doing<'_, usize> {
        let mut part = scripts::call(&scripts::TAKE_PART, &[self.shared.keys.parts(name)]);
        part.arg(&*self.shared.identity).arg(milliseconds(time));
        Box::pin(async move {
            let answer = self.shared.queues.look(part).await?;
            Ok(value::count(&answer).and_then(|count| count.try_into().ok()).unwrap_or_default())
        })
    }

    fn leave(&self, name: &str) -> Doing<'_, ()> {
        let mut leave = cmd("ZREM");
        leave.arg(self.shared.keys.parts(name)).arg(&*self.shared.identity);
        Box::pin(async move { self.shared.queues.settle(leave).await.map(drop) })
    }
}

/// The broker knows no shorter time.
fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, u64::from(u32::MAX) * 1000)
}

/// A lease that was ours when it was last looked at.
struct Held {
    key: String,
    token: String,
    time: u64,
    shared: Arc<Shared>,
}

impl Held {
    fn release_command(&self) -> redis::Cmd {
        let mut release = scripts::call(&scripts::RELEASE_LEASE, &[&self.key]);
        release.arg(&self.token);
        release
    }
}

impl Lease for Held {
    fn renew(&self) -> Doing<'_, bool> {
        let mut renew = scripts::call(&scripts::RENEW_LEASE, &[&self.key]);
        renew.arg(&self.token).arg(self.time);
        Box::pin(async move { Ok(self.shared.queues.look(renew).await? == Value::Int(1)) })
    }

    fn release(&self) -> Doing<'_, ()> {
        Box::pin(async move { self.shared.queues.settle(self.release_command()).await.map(drop) })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.queues.tell(self.release_command());
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("key", &self.key).finish_non_exhaustive()
    }
}

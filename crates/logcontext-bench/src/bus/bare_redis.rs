//! Calls over Redis with redis-rs and serde_json, as somebody would write it who needs nothing else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::streams::{StreamReadOptions, StreamReadReply};
use redis::{AsyncCommands, AsyncConnectionConfig, Client};
use tokio::sync::oneshot;

use super::message::Echo;
use super::over::Bare;

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>>;

/// Asks by a stream, is answered by pub/sub.
#[derive(Clone)]
pub(super) struct BareClient {
    connection: MultiplexedConnection,
    stream: Arc<str>,
    replies: Arc<str>,
    pending: Pending,
    next: Arc<AtomicU64>,
}

fn requests(prefix: &str) -> String {
    format!("{prefix}:requests")
}

impl Bare for BareClient {
    const SECTION: &str = "redis";

    #[expect(clippy::disallowed_methods, reason = "what is bare has no context")]
    async fn connect(url: &str, prefix: &str) -> Result<Self> {
        let client = Client::open(url)?;
        let replies: Arc<str> = format!("{prefix}:replies").into();
        let mut answers = client.get_async_pubsub().await?;
        answers.subscribe(&*replies).await?;
        let pending = Pending::default();
        let waiting = Arc::clone(&pending);
        tokio::spawn(async move {
            let mut answers = answers.into_on_message();
            while let Some(answer) = answers.next().await {
                let payload = answer.get_payload_bytes();
                let Some((id, body)) = payload.split_first_chunk::<8>() else { continue };
                let caller = lock(&waiting).remove(&u64::from_be_bytes(*id));
                if let Some(caller) = caller {
                    let _ = caller.send(body.to_vec());
                }
            }
        });
        let connection = client.get_multiplexed_async_connection().await?;
        let stream = requests(prefix).into();
        Ok(Self { connection, stream, replies, pending, next: Arc::default() })
    }

    async fn call(&self) -> Result<()> {
        let id = self.next.fetch_add(1, Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.pending).insert(id, answer);
        let body = serde_json::to_vec(&Echo::new())?;
        let id = id.to_be_bytes();
        let fields: [(&str, &[u8]); 3] = [("to", self.replies.as_bytes()), ("id", &id), ("body", &body)];
        let mut connection = self.connection.clone();
        let _: String = connection
            .xadd_maxlen(&*self.stream, redis::streams::StreamMaxlen::Approx(10_000), "*", &fields)
            .await?;
        let answer: Echo = serde_json::from_slice(&answered.await?)?;
        anyhow::ensure!(answer == Echo::new(), "another answer came back");
        Ok(())
    }
}

/// Reads in batches, and spawns a task for each.
#[expect(clippy::disallowed_methods, reason = "what is bare has no context")]
pub(super) async fn serve(url: &str, prefix: &str) -> Result<()> {
    const GROUP: &str = "servers";
    let client = Client::open(url)?;
    let stream = requests(prefix);
    let no_timeout = AsyncConnectionConfig::new().set_response_timeout(None);
    let mut reading = client.get_multiplexed_async_connection_with_config(&no_timeout).await?;
    let answering = client.get_multiplexed_async_connection().await?;
    let _: String = reading.xgroup_create_mkstream(&stream, GROUP, "0").await?;
    tokio::spawn(async move {
        let options = StreamReadOptions::default().group(GROUP, "one").noack().count(64).block(0);
        loop {
            let read: redis::RedisResult<Option<StreamReadReply>> =
                reading.xread_options(&[&stream], &[">"], &options).await;
            let Ok(read) = read else { return };
            for entry in read.into_iter().flat_map(|read| read.keys).flat_map(|key| key.ids) {
                let mut connection = answering.clone();
                tokio::spawn(async move { answer(&mut connection, &entry.map).await });
            }
        }
    });
    Ok(())
}

async fn answer(
    connection: &mut MultiplexedConnection,
    fields: &HashMap<String, redis::Value>,
) -> Result<()> {
    let field = |name: &str| -> Result<Vec<u8>> {
        let value = fields.get(name).context("a request has all its fields")?;
        Ok(redis::from_redis_value(value.clone())?)
    };
    let echo: Echo = serde_json::from_slice(&field("body")?)?;
    let mut answer = field("id")?;
    serde_json::to_writer(&mut answer, &echo)?;
    let _: u64 = connection.publish(field("to")?, answer).await?;
    Ok(())
}

fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Vec<u8>>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

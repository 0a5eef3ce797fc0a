//! Calls over NATS with async-nats and serde_json, as somebody would write it who needs nothing else.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use async_nats::Client;
use futures_util::StreamExt as _;
use serde_json::json;
use tokio::sync::oneshot;

use super::message::Echo;
use super::over::Bare;

type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Vec<u8>>>>>;

/// Asks by a stream, is answered by plain messages.
#[derive(Clone)]
pub(super) struct BareClient {
    client: Client,
    requests: Arc<str>,
    pending: Pending,
    next: Arc<AtomicU64>,
}

impl Bare for BareClient {
    const SECTION: &str = "nats";

    #[expect(clippy::disallowed_methods, reason = "what is bare has no context")]
    async fn connect(url: &str, prefix: &str) -> Result<Self> {
        let client = async_nats::ConnectOptions::new().connect(url).await?;
        let mut answers = client.subscribe(format!("{prefix}.replies.*")).await?;
        let pending = Pending::default();
        let waiting = Arc::clone(&pending);
        tokio::spawn(async move {
            while let Some(answer) = answers.next().await {
                let id = answer.subject.rsplit('.').next().and_then(|id| id.parse().ok());
                let Some(id) = id else { continue };
                let caller = lock(&waiting).remove(&id);
                if let Some(caller) = caller {
                    let _ = caller.send(answer.payload.to_vec());
                }
            }
        });
        Ok(Self { client, requests: format!("{prefix}.requests").into(), pending, next: Arc::default() })
    }

    async fn call(&self) -> Result<()> {
        let id = self.next.fetch_add(1, Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.pending).insert(id, answer);
        let body = serde_json::to_vec(&Echo::new())?;
        self.client.request(format!("{}.{id}", self.requests), body.into()).await?;
        let answer: Echo = serde_json::from_slice(&answered.await?)?;
        anyhow::ensure!(answer == Echo::new(), "another answer came back");
        Ok(())
    }
}

/// Pulls in batches, and spawns a task for each.
#[expect(clippy::disallowed_methods, reason = "what is bare has no context")]
pub(super) async fn serve(url: &str, prefix: &str) -> Result<()> {
    const BATCH: usize = 64;
    let client = async_nats::ConnectOptions::new().connect(url).await?;
    let stream = prefix.replace('.', "-");
    let config = json!({
        "name": stream, "subjects": [format!("{prefix}.requests.*")], "storage": "memory", "max_msgs": 10_000,
    });
    ask(&client, &format!("STREAM.CREATE.{stream}"), &config).await?;
    let consumer = json!({
        "stream_name": stream, "config": {"durable_name": "servers", "ack_policy": "none", "max_ack_pending": -1},
    });
    ask(&client, &format!("CONSUMER.DURABLE.CREATE.{stream}.servers"), &consumer).await?;
    let inbox = client.new_inbox();
    let mut requests = client.subscribe(inbox.clone()).await?;
    let (pull, replies) =
        (format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.servers"), format!("{prefix}.replies"));
    let wish = json!({"batch": BATCH, "expires": 1_000_000_000u64}).to_string();
    tokio::spawn(async move {
        loop {
            client.publish_with_reply(pull.clone(), inbox.clone(), wish.clone().into()).await?;
            for _ in 0..BATCH {
                let request = requests.next().await.context("the broker is there")?;
                if request.status.is_some() {
                    break;
                }
                let (client, replies) = (client.clone(), replies.clone());
                tokio::spawn(async move {
                    let id = request.subject.rsplit('.').next().unwrap_or_default();
                    let echo: Echo = serde_json::from_slice(&request.payload)?;
                    client.publish(format!("{replies}.{id}"), serde_json::to_vec(&echo)?.into()).await?;
                    anyhow::Ok(())
                });
            }
        }
        #[expect(unreachable_code, reason = "says what its errors are")]
        anyhow::Ok(())
    });
    Ok(())
}

async fn ask(client: &Client, what: &str, body: &serde_json::Value) -> Result<()> {
    let answer = client.request(format!("$JS.API.{what}"), body.to_string().into()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload)?;
    anyhow::ensure!(answer["error"].is_null(), "{answer}");
    Ok(())
}

fn lock(pending: &Pending) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Vec<u8>>>> {
    pending.lock().unwrap_or_else(PoisonError::into_inner)
}

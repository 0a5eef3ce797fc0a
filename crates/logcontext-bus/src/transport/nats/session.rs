//! Whoever owns the connection: opens it, hears answers to calls by it, and opens the next one when it is lost.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use async_nats::{Message, StatusCode, Subscriber};
use futures_util::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::shared::Shared;
use super::wire::Wire;
use crate::transport::Message as Answer;
use crate::transport::TransportError;
use crate::transport::backoff::Backoff;

pub(super) struct Session {
    shared: Arc<Shared>,
    /// Told when nothing more is to be done.
    closing: CancellationToken,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, closing: CancellationToken) -> Self {
        Self { shared, closing }
    }

    /// Until it is closed.
    pub(super) async fn run(self) {
        let (mut backoff, mut has_been_connected) = (Backoff::new(), false);
        for server in self.shared.address.servers.iter().cycle() {
            let opened = tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                opened = Line::open(&self.shared, server) => opened,
            };
            let why = match opened {
                Ok(mut line) => {
                    backoff.reset();
                    if has_been_connected {
                        self.shared.reconnects.fetch_add(1, Relaxed);
                        tracing::info!(target: "logcontext::bus", "connected to the broker again");
                    }
                    has_been_connected = true;
                    let _ = self.shared.connected.send_replace(Ok(Arc::clone(&line.wire)));
                    tokio::select! {
                        biased;
                        () = self.closing.cancelled() => {
                            self.lost(&"the bus is closed".into());
                            line.wire.close().await;
                            return;
                        }
                        () = line.hear(&self.shared) => {}
                    }
                    let why: Arc<str> = "the broker has closed it".into();
                    tracing::warn!(target: "logcontext::bus", %why, "the connection to the broker was lost");
                    why
                }
                Err(why) => why,
            };
            self.lost(&why);
            tokio::select! {
                biased;
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    /// There is no connection, and whoever waits for something that one would have brought is told.
    fn lost(&self, why: &Arc<str>) {
        let _ = self.shared.connected.send_replace(Err(Arc::clone(why)));
        self.shared.under_way.lost(&self.shared.inbox, why);
        self.shared.receipts.lost();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.lost(&"the bus is closed".into());
    }
}

/// A connection, and what is heard by it.
struct Line {
    wire: Arc<Wire>,
    replies: Subscriber,
    heard: Subscriber,
    /// What subjects of answers begin with
    prefix: usize,
    heard_prefix: usize,
}

impl Line {
    async fn open(shared: &Shared, server: &super::url::Server) -> Result<Self, Arc<str>> {
        let wire = Wire::open(shared, server).await?;
        let why = |failure: Failure| Arc::<str>::from(TransportError::from(failure).to_string());
        shared.look_at_clock(&wire).await.map_err(why)?;
        let replies = shared.names.replies(&shared.identity);
        let heard = shared.names.own(&shared.identity, "heard.*");
        let (prefix, heard_prefix) = (replies.len() - 1, heard.len() - 1);
        let replies = wire.hear(replies).await.map_err(why)?;
        let heard = wire.hear(heard).await.map_err(why)?;
        Ok(Self { wire: Arc::new(wire), replies, heard, prefix, heard_prefix })
    }

    /// Until it is lost.
    async fn hear(&mut self, shared: &Shared) {
        loop {
            tokio::select! {
                message = self.replies.next() => match message {
                    Some(message) => self.answer(shared, message),
                    None => break,
                },
                message = self.heard.next() => match message {
                    Some(message) => {
                        let number = message.subject.get(self.heard_prefix..).and_then(|text| text.parse().ok());
                        if let Some(number) = number {
                            shared.receipts.came(number, message.status != Some(StatusCode::NO_RESPONDERS));
                        }
                    }
                    None => break,
                },
            }
        }
        self.wire.gone().await;
    }

    fn answer(&self, shared: &Shared, message: Message) {
        let Some(rest) = message.subject.get(self.prefix..) else { return };
        if let Ok(call) = rest.parse() {
            if message.status == Some(StatusCode::NO_RESPONDERS) {
                shared.leftovers.unserved(call);
            } else if shared.under_way.end(call).is_some() {
                shared.inbox.reply(call, Answer::from_frame(message.payload));
            }
        } else if let Some(Ok(call)) = rest.strip_suffix(".unserved").map(str::parse)
            && shared.under_way.end(call).is_some()
        {
            shared.inbox.unserved(call);
        }
    }
}

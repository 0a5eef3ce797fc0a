//! The loop that takes calls.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc::UnboundedReceiver;

use super::answerer::Answerer;
use super::asked::Asked;
use super::builder::Stop;
use super::figures::Figures;
use super::server::{Name, Server};
use super::taken::abandon;
use crate::bus::Inner;
use crate::transport::{self, Incoming};

/// Calls that were taken from the transport. Dropped before they were begun, they are answered as abandoned.
pub(super) struct Calls {
    pub(super) incoming: UnboundedReceiver<Incoming>,
    pub(super) inner: Arc<Inner>,
    pub(super) figures: Arc<Figures>,
}

/// So many are begun before the loop looks at anything else.
const BATCH: usize = 64;

impl Calls {
    async fn next(&mut self, batch: &mut Vec<Incoming>) -> usize {
        self.incoming.recv_many(batch, BATCH).await
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.incoming.close();
        while let Ok(call) = self.incoming.try_recv() {
            abandon(&self.inner, &self.figures, call.from, None);
        }
    }
}

/// Takes calls until it is told to stop, or the service shuts down; and then those that handlers under way still make,
/// until there are none.
pub(super) async fn receive<A: Answerer>(
    mut server: Server<A>,
    mut calls: Calls,
    serving: Arc<dyn transport::Serving>,
    stop: Stop,
    name: Name,
) {
    let (inner, figures) = (Arc::clone(&server.inner), Arc::clone(&server.figures));
    let mut batch = Vec::with_capacity(BATCH);
    {
        let stopped = pin!(stop.wait(&inner));
        let mut stopped = Asked::new(stopped);
        loop {
            let next = poll_fn(|cx| match stopped.poll(cx) {
                Poll::Ready(()) => Poll::Ready(0),
                Poll::Pending => calls.incoming.poll_recv_many(cx, &mut batch, BATCH),
            });
            // None: it is to stop, or the transport has.
            if next.await == 0 {
                break;
            }
            let now = inner.now();
            batch.drain(..).for_each(|call| server.take(call, now));
        }
    }
    let mut stopping = pin!(async {
        let _ = serving.stop_first().await;
        if inner.supervisor.is_shutting_down() {
            // Whatever is under way in the service may call this. No listener begins a handler after its end.
            inner.listeners_running.none().await;
            inner.handlers.none().await;
        } else {
            figures.handlers.none().await;
        }
        let _ = serving.stop().await;
    });
    let mut is_open = true;
    loop {
        let count = tokio::select! {
            biased;
            count = calls.next(&mut batch), if is_open => count,
            () = &mut stopping => break,
        };
        is_open = count > 0;
        let now = inner.now();
        batch.drain(..).for_each(|call| server.take(call, now));
    }
    // What has come in the meantime was taken.
    calls.incoming.close();
    while let Ok(call) = calls.incoming.try_recv() {
        server.take(call, inner.now());
    }
    drop(name);
    figures.handlers.none().await;
}

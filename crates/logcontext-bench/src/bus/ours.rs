//! Our side: a bus, and what it serves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Result;
use logcontext::{FutureExt, LogContext};
use logcontext_bus::{Bus, BusConfig, Retention};
use tokio::sync::Notify;

use super::message::{Echo, Happened};

pub(super) fn config(url: &str, prefix: &str) -> BusConfig {
    BusConfig {
        prefix: prefix.to_owned(),
        retention: Retention::default().history(0).every(Duration::from_secs(1)),
        ..BusConfig::new("bench", url)
    }
}

pub(super) async fn serve_echo(bus: &Bus) -> Result<()> {
    bus.serve::<Echo>(async |echo: Echo| Ok::<_, String>(echo)).start().await?;
    Ok(())
}

/// A caller, in a context as services have it.
pub(super) fn caller(bus: &Bus) -> impl Fn() -> Caller + Clone + Send + 'static {
    let context = LogContext::new("caller");
    let bus = bus.clone();
    move || {
        let bus = bus.clone();
        let call = async move {
            let answer = bus.call(Echo::new()).await?;
            anyhow::ensure!(answer == Echo::new(), "another answer came back");
            Ok(())
        };
        Box::pin(call.in_context(context.clone()))
    }
}

type Caller = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Fires so many events from so many tasks.
#[expect(clippy::disallowed_methods, reason = "who fires is nobody's, but for its context")]
pub(super) async fn fire(bus: &Bus, tasks: u64, each: u64) -> Result<()> {
    let context = LogContext::new("firing");
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            let bus = bus.clone();
            let firing = async move {
                for _ in 0..each {
                    bus.fire(&Happened::new()).await?;
                }
                anyhow::Ok(())
            };
            tokio::spawn(firing.in_context(context.clone()))
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    context.finish();
    Ok(())
}

/// Counts what it hears.
#[derive(Clone, Default)]
pub(super) struct Heard {
    count: Arc<AtomicU64>,
    more: Arc<Notify>,
}

impl Heard {
    /// Listens from the oldest event on; answers when so many have come.
    pub(super) async fn all(&self, bus: &Bus, listener: &str, expected: u64) -> Result<()> {
        let heard = self.clone();
        let listener = bus.listen::<Happened>(listener, move |event: Happened| {
            let heard = heard.clone();
            async move {
                assert!(!event.text.is_empty());
                if heard.count.fetch_add(1, Relaxed) + 1 == expected {
                    heard.more.notify_one();
                }
            }
        });
        let listener = listener.since(logcontext_bus::transport::Since::Start).slots(100).start().await?;
        self.more.notified().await;
        listener.stop();
        listener.stopped().await;
        Ok(())
    }
}

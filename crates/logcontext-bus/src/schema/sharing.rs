//! Telling others by the broker what messages must be like, and hearing of it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use logcontext::{Background, background};
use serde_json::Value;

use super::Theirs;
use crate::bus::Inner;
use crate::transport::TransportError;

/// So often callers look what servers want: these may have been started anew.
const EVERY: Duration = Duration::from_secs(60);

/// What a bus tells and hears of schemas, in the background: nobody waits for it.
#[derive(Default)]
pub(crate) struct Sharing {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    followed: Vec<(&'static str, Arc<Theirs>)>,
    rounds: Option<Background<()>>,
}

impl Sharing {
    /// Stores what it is like: `event presence.changed`, `rpc presence.get`.
    pub(crate) fn tell(inner: &Arc<Inner>, name: String, schema: Value) {
        let bus = Arc::downgrade(inner);
        in_background(inner, "tell_schema", async move {
            if let Some(inner) = bus.upgrade() {
                inner.transport.schemas().put(&name, schema.to_string()).await?;
            }
            Ok(())
        });
    }

    /// Looks from now on what servers of this call want.
    pub(crate) fn follow(&self, inner: &Arc<Inner>, rpc: &'static str, theirs: &Arc<Theirs>) {
        let (bus, found) = (Arc::downgrade(inner), Arc::clone(theirs));
        in_background(inner, "learn_schema", async move { look(&bus, rpc, &found).await });
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.followed.push((rpc, Arc::clone(theirs)));
        state.rounds.get_or_insert_with(|| begin(inner));
    }

    fn followed(&self) -> Vec<(&'static str, Arc<Theirs>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).followed.clone()
    }
}

impl Drop for Sharing {
    fn drop(&mut self) {
        if let Some(rounds) = &self.state.get_mut().unwrap_or_else(PoisonError::into_inner).rounds {
            rounds.abort();
        }
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing").field("followed", &self.followed().len()).finish()
    }
}

fn begin(inner: &Arc<Inner>) -> Background<()> {
    let bus = Arc::downgrade(inner);
    let _entered = inner.runtime.enter();
    inner.supervisor.context("bus").start().scope(|| {
        background::every("learn_schemas", EVERY).run(move || {
            let bus = Weak::clone(&bus);
            async move {
                let followed = bus.upgrade().map(|inner| inner.sharing.followed()).unwrap_or_default();
                for (rpc, theirs) in followed {
                    let looked = unless_shutting_down(&bus, look(&bus, rpc, &theirs)).await;
                    if let Some(Err(error)) = looked {
                        say(&error);
                    }
                }
            }
        })
    })
}

async fn look(bus: &Weak<Inner>, rpc: &'static str, theirs: &Theirs) -> Result<(), TransportError> {
    if let Some(inner) = bus.upgrade() {
        let found = inner.transport.schemas().get(&format!("rpc {rpc}")).await?;
        theirs.found(found.as_deref());
    }
    Ok(())
}

/// Whoever it is for does not wait for it, and it is not theirs.
fn in_background(
    inner: &Arc<Inner>,
    name: &'static str,
    work: impl Future<Output = Result<(), TransportError>> + Send + 'static,
) {
    let process = background::process(&inner.supervisor, name);
    let bus = Arc::downgrade(inner);
    let _entered = inner.runtime.enter();
    drop(process.run(|context| context.call_depth(0), async move {
        if let Some(Err(error)) = unless_shutting_down(&bus, work).await {
            say(&error);
        }
    }));
}

async fn unless_shutting_down<T>(bus: &Weak<Inner>, work: impl Future<Output = T>) -> Option<T> {
    let shutting_down = bus.upgrade()?.supervisor.shutting_down();
    tokio::select! {
        biased;
        () = shutting_down => None,
        done = work => Some(done),
    }
}

/// Messages are checked by who gets them all the same.
fn say(error: &TransportError) {
    if *error != TransportError::Closed {
        tracing::debug!(target: "logcontext::bus", %error, "schemas are not shared");
    }
}

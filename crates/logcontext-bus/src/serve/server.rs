//! What serves one RPC.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use logcontext::background::Process;
use tokio::time::Instant;

use super::answerer::{Answerer, Said};
use super::examine::Rules;
use super::figures::Figures;
use super::handle::{handle, refuse};
use super::taken::Taken;
use crate::bus::Inner;
use crate::message::{Origin, Verdict};
use crate::transport::{Incoming, ReplyTo};

/// The names of what a bus serves.
#[derive(Debug, Default)]
pub(crate) struct Serving(Arc<Mutex<BTreeSet<&'static str>>>);

/// A name that nobody else on this bus serves, until this is dropped.
#[derive(Debug)]
pub(super) struct Name {
    name: &'static str,
    of: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Serving {
    pub(super) fn take(&self, name: &'static str) -> Option<Name> {
        let is_new = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        is_new.then(|| Name { name, of: Arc::clone(&self.0) })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.of.lock().unwrap_or_else(PoisonError::into_inner).remove(self.name);
    }
}

/// What serves one RPC.
pub(super) struct Server<A> {
    pub(super) inner: Arc<Inner>,
    pub(super) answerer: Arc<A>,
    pub(super) process: Process,
    pub(super) figures: Arc<Figures>,
    pub(super) rules: Rules,
    pub(super) max_nested: usize,
}

impl<A: Answerer> Server<A> {
    /// Begins to handle it.
    pub(super) fn take(&self, call: Incoming, now: Instant) {
        let Incoming { from, message, age, slot } = call;
        let (head, examined) = self.rules.examine(&message, age);
        let is_nested = slot.is_none();
        let nested = if is_nested { self.inner.nested.fetch_add(1, SeqCst) } else { 0 };
        let examined = match examined {
            Ok(_) if is_nested && nested >= self.max_nested => {
                let why = format!("{nested} nested calls are handled already");
                Err(Said::because(Verdict::Overloaded, &why))
            }
            examined => examined,
        };
        let time = *examined.as_ref().unwrap_or(&Duration::ZERO);
        let depth = head.as_ref().map_or(1, |head| head.depth.saturating_add(1));
        let origin = head.map_or_else(|| unknown(&from), |head| head.origin);
        let running = [self.inner.handlers.begin(), self.figures.handlers.begin()];
        let mut call = Taken {
            inner: Arc::clone(&self.inner),
            figures: Arc::clone(&self.figures),
            from: Some(from),
            at: now,
            due: now.checked_add(time).unwrap_or(now),
            is_nested,
            _slot: slot,
            _running: running,
        };
        let answerer = Arc::clone(&self.answerer);
        let work = async move {
            match examined {
                Ok(_) => handle(answerer, call, message).await,
                Err(said) => {
                    refuse(&mut call, &said).await;
                    Ok(())
                }
            }
        };
        let rpc = self.rules.rpc;
        let process = self.process.run(
            |context| {
                let request = origin.request("RPC", rpc);
                context.request(request).started_by_name(origin.starter()).call_depth(depth)
            },
            work,
        );
        // Its end is reported by itself.
        drop(process);
    }
}

/// What is known of who sends something that cannot be read.
fn unknown(from: &ReplyTo) -> Origin {
    Origin { sender: (*from.client).into(), ..Origin::default() }
}

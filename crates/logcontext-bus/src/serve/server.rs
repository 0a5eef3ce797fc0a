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
use super::handle::handle;
use super::taken::Taken;
use crate::bus::Inner;
use crate::message::{CallFrom, OriginRef, Verdict, shown};
use crate::transport::Incoming;

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
    pub(super) senders: Senders,
}

impl<A: Answerer> Server<A> {
    /// Begins to handle it.
    pub(super) fn take(&mut self, call: Incoming, now: Instant) {
        let Incoming { from, message, age, slot } = call;
        let (head, examined) = self.rules.examine(&message, age);
        let is_nested = slot.is_none();
        let nested = if is_nested { self.inner.nested.fetch_add(1, SeqCst) } else { 0 };
        let (time, refused) = match examined {
            Ok(_) if nested >= self.max_nested => {
                let why = format!("{nested} nested calls are handled already");
                (Duration::ZERO, Some(Box::new(Said::because(Verdict::Overloaded, &why))))
            }
            Ok(time) => (time, None),
            Err(said) => (Duration::ZERO, Some(said)),
        };
        let client = Arc::clone(&from.client);
        let CallFrom { depth, origin, .. } = match &head {
            Some(head) => head.from(),
            // All that is known of who sends something that cannot be read.
            None => CallFrom {
                depth: 0,
                timeout_ms: 0,
                origin: OriginRef { sender: &client, ..OriginRef::default() },
            },
        };
        let sender = self.senders.get(origin.sender);
        let running = [self.inner.handlers.begin(), self.figures.handlers.begin()];
        let call = Taken {
            inner: Arc::clone(&self.inner),
            figures: Arc::clone(&self.figures),
            from: Some(from),
            at: now,
            due: now.checked_add(time).unwrap_or(now),
            is_nested,
            has_begun: false,
            _slot: slot,
            running: Some(running),
        };
        let rpc = self.rules.rpc;
        let work = handle(Arc::clone(&self.answerer), call, message.body.clone(), refused);
        let process = self.process.run(
            |context| {
                let request = origin.request("RPC", rpc, sender);
                context.request(request).started_by_name(origin.starter()).call_depth(depth.saturating_add(1))
            },
            work,
        );
        // Its end is reported by itself.
        drop(process);
    }
}

/// The last sender, as it is shown: most calls are of few.
#[derive(Debug, Default)]
pub(super) struct Senders(Arc<str>);

impl Senders {
    fn get(&mut self, sender: &str) -> Arc<str> {
        let shown = shown(sender);
        if *self.0 != *shown {
            self.0 = shown.into();
        }
        Arc::clone(&self.0)
    }
}

//! What a bus has called: looked at once each.

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use logcontext::source::{Collector, Figure, Histogram, Source};
use rustc_hash::FxHashMap;

use crate::bus::Inner;
use crate::error::CallError;
use crate::figures::{counter, gauge, histogram};
use crate::message::HeadPrefix;
use crate::name::{self, InvalidName};
use crate::rpc::Rpc;
use crate::schema::{Check, Theirs};
use crate::transport::Inbox;

const TIMES: Figure = histogram("bus_call_seconds", "Time that callers waited for their answers.");
const CALLS: Figure = counter("bus_calls", "Calls that are over, by how they ended.");
const WAITING: Figure = gauge("bus_calls_in_flight", "Calls that wait for their answers.");

/// How calls end. The first is an answer, the last that its caller had gone.
const ENDINGS: [&str; 14] = [
    "ok",
    "error",
    "no_server",
    "timeout",
    "too_deep",
    "panicked",
    "abandoned",
    "overloaded",
    "bad_request",
    "bad_response",
    "connection_lost",
    "refused",
    "closed",
    "dropped",
];

/// The types that a bus has called.
#[derive(Debug)]
pub(crate) struct Callees {
    bus: Box<str>,
    inbox: Arc<Inbox>,
    by_type: RwLock<FxHashMap<TypeId, Arc<Callee>>>,
}

/// Something that is called.
#[derive(Debug)]
pub(crate) struct Callee {
    pub(super) name: &'static str,
    pub(super) head: HeadPrefix,
    pub(super) request: Arc<Check>,
    /// What who serves it wants requests to be like.
    pub(super) theirs: Arc<Theirs>,
    pub(super) response: Arc<Check>,
    pub(super) error: Arc<Check>,
    times: Histogram,
    ended: [AtomicU64; ENDINGS.len()],
}

impl Callees {
    pub(crate) fn new(bus: &str, inbox: &Arc<Inbox>) -> Arc<Self> {
        Arc::new(Self { bus: bus.into(), inbox: Arc::clone(inbox), by_type: RwLock::default() })
    }

    /// This one.
    ///
    /// # Errors
    /// If it cannot be called anything.
    pub(super) fn of<R: Rpc>(&self, inner: &Arc<Inner>) -> Result<Arc<Callee>, InvalidName> {
        let id = TypeId::of::<R>();
        let known = self.by_type.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        name::check("a call", R::NAME)?;
        let callee = Arc::new(Callee {
            name: R::NAME,
            head: HeadPrefix::new(R::NAME, R::VERSION),
            request: inner.checks.of::<R>(),
            theirs: Arc::new(Theirs::of::<R>()),
            response: inner.checks.of::<R::Response>(),
            error: inner.checks.of::<R::Error>(),
            times: Histogram::seconds(),
            ended: std::array::from_fn(|_| AtomicU64::new(0)),
        });
        let mut by_type = self.by_type.write().unwrap_or_else(PoisonError::into_inner);
        let known = Arc::clone(by_type.entry(id).or_insert_with(|| Arc::clone(&callee)));
        drop(by_type);
        if Arc::ptr_eq(&known, &callee) {
            inner.sharing.follow(inner, R::NAME, &known.theirs);
        }
        Ok(known)
    }
}

impl Callee {
    pub(super) fn took(&self, time: Duration) {
        self.times.observe(time);
    }

    pub(super) fn answered(&self) {
        self.ended[0].fetch_add(1, Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.ended[ENDINGS.len() - 1].fetch_add(1, Relaxed);
    }

    pub(super) fn ended<E>(&self, error: &CallError<E>) {
        let ending = match error {
            CallError::Handler(_) => 1,
            CallError::NoServer(_) => 2,
            CallError::Timeout { .. } => 3,
            CallError::TooDeep { .. } => 4,
            CallError::Panicked => 5,
            CallError::Abandoned => 6,
            CallError::Overloaded(_) => 7,
            CallError::BadRequest(_)
            | CallError::Encode(_)
            | CallError::Invalid(_)
            | CallError::TooLarge { .. }
            | CallError::Name(_) => 8,
            CallError::BadResponse(_) => 9,
            CallError::ConnectionLost(_) => 10,
            CallError::Refused(_) => 11,
            CallError::Closed => 12,
        };
        self.ended[ending].fetch_add(1, Relaxed);
    }
}

impl Source for Callees {
    fn describe(&self) -> &[Figure] {
        &[TIMES, CALLS, WAITING]
    }

    fn collect(&self, out: &mut dyn Collector) {
        out.value(WAITING.name, &[("bus", &self.bus)], self.inbox.waiting() as f64);
        let callees: Vec<_> =
            self.by_type.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for callee in callees {
            let labels = [("bus", &*self.bus), ("rpc", callee.name)];
            out.histogram(TIMES.name, &labels, &callee.times.read());
            for (ending, count) in ENDINGS.iter().zip(&callee.ended) {
                let labels = [labels[0], labels[1], ("ending", ending)];
                out.value(CALLS.name, &labels, count.load(Relaxed) as f64);
            }
        }
    }
}

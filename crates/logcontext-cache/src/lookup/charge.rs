//! Who pays for a lookup.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use logcontext::{ContextKind, Ending, LogContext, Supervisor};

/// Who pays for a lookup that callers share.
///
/// What a lookup puts into the background stays with the context that it was in at that time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChargeTo {
    /// The caller who began it: it runs nested in that caller's context, as its follower. When that caller leaves, the
    /// next one who waits pays from then on. Callers in the sentinel cannot pay: where there is nobody else, the cache
    /// does.
    #[default]
    FirstCaller,
    /// All who wait when it ends, in equal parts: its times (CPU, database) are split among them, the odd nanoseconds
    /// go to the first. What it counted (transactions, counters) stays with the cache, as counts cannot be split. Where
    /// nobody waits any more, and for the part of a caller in the sentinel, the cache pays.
    Shared,
    /// The cache, in a context of its own.
    Cache,
}

/// The contexts that lookups of one cache run in.
#[derive(Debug)]
pub(crate) struct Books {
    to: ChargeTo,
    name: Box<str>,
    /// The cache's own: `lookup_profiles`.
    own: LogContext,
    next: AtomicU64,
}

/// The context that a lookup runs in, and which of its waiters that is.
#[derive(Debug)]
pub(crate) struct Payer {
    pub(crate) context: LogContext,
    /// `None` where it is none of them.
    pub(crate) waiter: Option<u64>,
}

impl Books {
    pub(crate) fn new(
        to: ChargeTo,
        name: &str,
        supervisor: &Supervisor,
        origin: &'static std::panic::Location<'static>,
    ) -> Self {
        let label = format!("lookup_{name}");
        let own = supervisor
            .context(label.clone())
            .kind(ContextKind::Background)
            .label(&label)
            .origin(origin)
            .start();
        Self { to, name: name.into(), own, next: AtomicU64::new(0) }
    }

    pub(crate) fn own(&self) -> &LogContext {
        &self.own
    }

    /// Who pays for a lookup that this caller begins, as the waiter of this number.
    pub(crate) fn open(&self, caller: &LogContext, waiter: u64) -> Payer {
        match self.to {
            ChargeTo::FirstCaller => self.first_of([(waiter, caller)]),
            ChargeTo::Cache => self.cache(),
            ChargeTo::Shared => {
                // Without a label until it is known what of it stays here: what has one only grows.
                let name = format!("{}-{}", self.own.name(), self.number());
                let context = self.own.supervisor().context(name).kind(ContextKind::Background).start();
                Payer { context, waiter: None }
            }
        }
    }

    /// Who pays from now on, if these wait and the one who paid has left.
    pub(crate) fn first_of<'a>(&self, waiters: impl IntoIterator<Item = (u64, &'a LogContext)>) -> Payer {
        match waiters.into_iter().find(|(_, caller)| !caller.is_sentinel()) {
            Some((waiter, caller)) => Payer { context: caller.nested(&self.name), waiter: Some(waiter) },
            None => self.cache(),
        }
    }

    /// Does the lookup lack a payer that this caller could be?
    pub(crate) fn wants(&self, payer: &Payer, caller: &LogContext) -> bool {
        self.to == ChargeTo::FirstCaller && payer.waiter.is_none() && !caller.is_sentinel()
    }

    /// Splits what the lookup has cost, if that is agreed, among those who wait now.
    pub(crate) fn split<'a>(&self, payer: &Payer, waiters: impl Iterator<Item = &'a LogContext>) {
        if self.to == ChargeTo::Shared {
            let own = || self.own.clone();
            let waiters: Vec<_> =
                waiters.map(|caller| if caller.is_sentinel() { own() } else { caller.clone() }).collect();
            payer.context.split_times(&waiters);
        }
    }

    /// The lookup no longer runs in this context.
    pub(crate) fn close(&self, payer: &Payer, ending: Ending) {
        if self.to == ChargeTo::Shared {
            payer.context.set_label(self.own.name());
        }
        payer.context.finish_as(ending);
    }

    fn cache(&self) -> Payer {
        Payer { context: self.own.nested(&self.number().to_string()), waiter: None }
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }
}

impl Drop for Books {
    fn drop(&mut self) {
        self.own.finish_as(Ending::Ok);
    }
}

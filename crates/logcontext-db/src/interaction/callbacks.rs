//! What a transaction leaves to be done when it is over, either way.

type Callback = Box<dyn FnOnce() + Send>;

/// In the order in which they were left.
#[derive(Default)]
pub(crate) struct Callbacks {
    after_commit: Vec<Callback>,
    on_failure: Vec<Callback>,
}

impl Callbacks {
    pub(crate) fn after_commit(&mut self, callback: impl FnOnce() + Send + 'static) {
        self.after_commit.push(Box::new(callback));
    }

    pub(crate) fn on_failure(&mut self, callback: impl FnOnce() + Send + 'static) {
        self.on_failure.push(Box::new(callback));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.after_commit.is_empty() && self.on_failure.is_empty()
    }

    /// The transaction is committed: its caller's context is current.
    pub(super) fn committed(self) {
        run(self.after_commit);
    }

    /// The transaction has failed for good.
    pub(super) fn failed(self) {
        run(self.on_failure);
    }
}

/// Runs them all: one that panics keeps none of the others from running.
fn run(callbacks: Vec<Callback>) {
    for callback in callbacks {
        if let Err(mut panic) = logcontext::catch_panic(callback) {
            panic.report();
        }
    }
}

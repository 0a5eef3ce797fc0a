//! Measured blocks: a part of a request, totalled under the block's own name.

use std::future::Future;

use crate::context::LogContext;
use crate::future::FutureExt;
use crate::kind::{ContextKind, Ending};
use crate::meter;

/// Measures a block: `future` runs in a context nested in the current one, which is totalled under the block's
/// name, whatever requests it is part of. Synapse calls this `Measure`.
///
/// ```
/// use logcontext::{FutureExt, Supervisor, measure};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let service = Supervisor::new("presence");
/// let request = service.context("GET-1").start();
/// let answer = measure_in(request).await;
/// assert_eq!(answer, 42);
/// let blocks = service.totals();
/// assert!(blocks.iter().any(|row| row.label.as_deref() == Some("resolve_state") && row.ok == 1));
///
/// async fn measure_in(request: logcontext::LogContext) -> u32 {
///     async { measure("resolve_state", async { 42 }).await }.in_context(request).await
/// }
/// # });
/// ```
#[track_caller]
#[doc(alias = "Measure")]
pub fn measure<F: Future>(name: &str, future: F) -> impl Future<Output = F::Output> + use<F> {
    let block = Block(meter::current().part(ContextKind::Block, name, Some(name)));
    // In this order: a future that is dropped before it began drops its work first, and then ends its block.
    let parts = (future.in_context(block.0.clone()), block);
    async move {
        let (future, block) = parts;
        let output = future.await;
        block.end(Ending::Ok);
        output
    }
}

/// The same for code that does not wait.
#[track_caller]
pub fn measure_sync<R>(name: &str, f: impl FnOnce() -> R) -> R {
    let block = Block(meter::current().part(ContextKind::Block, name, Some(name)));
    let output = block.0.scope(f);
    block.end(Ending::Ok);
    output
}

struct Block(LogContext);

impl Block {
    fn end(&self, ending: Ending) {
        self.0.finish_as(ending);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // Without effect if it has ended already.
        self.end(if std::thread::panicking() { Ending::Panicked } else { Ending::Cancelled });
    }
}

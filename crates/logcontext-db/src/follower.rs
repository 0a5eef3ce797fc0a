//! Ending properly, in the background, what nobody waits for any more.

use std::future::Future;

use logcontext::{FutureExt as _, LogContext};
use tokio::runtime::Handle;

/// Goes on with it as a follower of the context that had begun it: a shutdown waits for it. Needs a runtime.
pub(crate) fn follow(context: &LogContext, end: impl Future<Output = ()> + Send + 'static) {
    if context.is_sentinel() {
        // Nobody's work, as has been reported when it was begun.
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever closes the database waits for its connection"
        )]
        Handle::current().spawn(end.following(LogContext::sentinel()));
    } else {
        drop(context.run_in_background(end));
    }
}

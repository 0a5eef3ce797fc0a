//! The context that something is sent from.

use std::panic::Location;

use logcontext::diagnostics::{DiagnosticKind, Report};
use logcontext::{LogContext, current_context};

/// The current one. In the sentinel that raises a diagnostic: nobody could say whose the message was.
pub(crate) fn sender(command: &'static str, origin: &'static Location<'static>) -> LogContext {
    let context = current_context();
    if context.is_sentinel() {
        Report::new(DiagnosticKind::CommandFromSentinel, &context).origin(origin).detail(command).raise();
    }
    context
}

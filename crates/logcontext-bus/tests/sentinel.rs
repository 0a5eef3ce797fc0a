//! Who sends something is somebody.

mod calling;

use calling::{echo, echoed, on_both_runtimes};
use logcontext::diagnostics::DiagnosticKind;
use logcontext::{FutureExt, LogContext};

#[test]
fn a_call_from_the_sentinel_is_made_and_reported_with_its_line() {
    on_both_runtimes(|rig| async move {
        let bus = rig.bus();
        bus.serve(echoed).start().await.unwrap();
        let call = async {
            let (answer, line) = (bus.call(echo("hi")).await, line!());
            assert_eq!(answer.as_deref(), Ok("hi"));
            line
        };
        let line = call.in_context(LogContext::sentinel()).await;
        let reports = rig.kit.take(DiagnosticKind::CommandFromSentinel);
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].origin.map(|origin| origin.line()), Some(line));
        assert_eq!(reports[0].detail.as_deref(), Some("test.echo"));
    });
}

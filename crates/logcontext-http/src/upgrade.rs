//! Connections that were upgraded, to WebSockets for one: they outlive their request, and cost on.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

use logcontext::{Ending, LogContext, Outcome, current_context, run_in_background};
use tokio::sync::oneshot;

/// Wraps what serves an upgraded connection: the callback of axum's `WebSocketUpgrade::on_upgrade`, or what is
/// called with hyper's `Upgraded`. To be called in the handler.
///
/// Others run such a callback outside any context, for the request has been answered by then. Here it runs in a
/// context of its own, `GET-17-upgraded`, a part of the request's: what it costs is the request's as well, and is
/// counted as after its finish. The supervisor lists it, waits for it in a shutdown, and aborts it at the
/// deadline; [`shutting_down`](logcontext::Supervisor::shutting_down) tells when to say goodbye. A failure or a panic is
/// logged once, at error level; its end is, with its cost, at info level.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{FutureExt, LogContext, current_context, testing};
/// use logcontext_http::upgraded;
///
/// # let test = testing::start();
/// let handler = async {
///     upgraded(|socket: String| async move {
///         assert_eq!((&*socket, current_context().name()), ("socket", "GET-17-upgraded"));
///     })
/// };
/// let request = LogContext::new("GET-17");
/// let serve = handler.in_context(request.clone()).await;
/// request.finish();
/// serve("socket".to_owned()).await; // whoever runs it, and wherever
/// # assert_eq!(test.records()[0].message, "upgraded connection ended");
/// # }
/// ```
///
/// If the connection is not upgraded after all, nothing happens. In the sentinel there is no request to be a part
/// of: that raises a diagnostic.
///
/// # Panics
/// Outside a tokio runtime.
#[track_caller]
#[doc(alias = "websocket")]
#[doc(alias = "on_upgrade")]
pub fn upgraded<T, F, Fut>(
    serve: F,
) -> impl FnOnce(T) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static
where
    T: Send + 'static,
    F: FnOnce(T) -> Fut + Send + 'static,
    Fut: Future + Send + 'static,
    Fut::Output: Outcome + Send + 'static,
{
    let context = current_context().nested("upgraded");
    let (sender, receiver) = oneshot::channel();
    // Started here, where the request is and its supervisor knows who started what; it waits for the connection.
    // With a guard, for a closure would not know the caller's line.
    let guard = context.enter();
    let served = run_in_background(run(context, receiver, serve));
    drop(guard);
    move |connection| {
        // After the deadline of a shutdown nobody takes it.
        let _ = sender.send(connection);
        Box::pin(async { drop(served.await) })
    }
}

async fn run<T, F, Fut>(
    context: LogContext,
    connection: oneshot::Receiver<T>,
    serve: F,
) -> Served<Fut::Output>
where
    F: FnOnce(T) -> Fut,
    Fut: Future,
    Fut::Output: Outcome,
{
    let mut end = End { context, began: false, ending: Ending::Cancelled };
    let Ok(connection) = connection.await else { return Served(None) };
    end.began = true;
    let output = serve(connection).await;
    end.ending = if output.failure().is_some() { Ending::Failed } else { Ending::Ok };
    Served(Some(output))
}

/// What came of it; nothing, if the connection was not upgraded.
struct Served<O>(Option<O>);

impl<O: Outcome> Outcome for Served<O> {
    fn failure(&self) -> Option<&dyn Display> {
        self.0.as_ref()?.failure()
    }
}

/// Dropped when all is over, however that came about: in the connection's context.
struct End {
    context: LogContext,
    began: bool,
    ending: Ending,
}

impl Drop for End {
    fn drop(&mut self) {
        let ending = if std::thread::panicking() { Ending::Panicked } else { self.ending };
        if self.began {
            let usage = self.context.usage();
            let remote = Some(usage.remote()).filter(|remote| !remote.is_empty());
            tracing::info!(
                target: "logcontext::http",
                outcome = ending.name(),
                duration = ?self.context.elapsed(),
                cpu = usage.cpu().as_ref().map(tracing::field::debug),
                db_txn_count = usage.db_txn_count,
                db_txn_duration = ?usage.db_txn_duration,
                remote_calls = remote.map(|remote| remote.calls),
                remote_unknown = remote.map(|remote| remote.unknown),
                remote_cpu = remote.and_then(|remote| remote.cpu()).as_ref().map(tracing::field::debug),
                "upgraded connection ended",
            );
        }
        self.context.finish_as(ending);
    }
}

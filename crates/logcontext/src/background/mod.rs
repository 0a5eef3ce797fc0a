//! Background processes: work that stands for itself, each run in a context of its own (`prune_cache-3`),
//! totalled by its name, never charged to who started it. Synapse: `run_as_background_process`.

mod every;
mod process;
mod queue;

use std::future::Future;
use std::panic::Location;
use std::sync::Arc;

use crate::context::LogContext;
use crate::kind::ContextKind;
use crate::meter;
use crate::outcome::Outcome;
use crate::small_str::SmallStr;
use crate::spawn::{Background, Belongs, start};
use crate::supervisor::Supervisor;

pub use every::{Every, First, every};
pub use process::{Process, process};
pub use queue::{Queue, QueueBuilder, Refused, queue};

/// Runs `future` as a background process of this name, in a context of its own, linked to the current one.
///
/// A failure or a panic is logged at once, at error level, with the line that called this. It is counted by
/// name and outcome: see [`Supervisor::totals`]. Once the supervisor is shutting down nothing is started:
/// awaiting the handle answers [`Lost::ShuttingDown`](crate::Lost::ShuttingDown).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{background, current_context};
///
/// let pruned = background::run("prune_cache", async {
///     assert!(current_context().name().starts_with("prune_cache-"));
///     Ok::<u32, std::io::Error>(17)
/// });
/// assert_eq!(pruned.await.unwrap().unwrap(), 17);
/// # }
/// ```
///
/// What is fired off must say whether it failed:
/// ```compile_fail
/// struct Mine;
/// logcontext::background::run("prune_cache", async { Mine }); // `Mine` is no `Outcome`
/// ```
///
/// # Panics
/// Outside a tokio runtime.
#[track_caller]
#[doc(alias = "run_as_background_process")]
pub fn run<F>(name: &str, future: F) -> Background<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    run_from(&Supervisor::current(), name, Location::caller(), future)
}

/// The same for a supervisor that is not the current one, started from this line of code: for what starts its process
/// later than it was made, wherever that happens to be.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{Supervisor, background, current_context};
/// use std::panic::Location;
///
/// let service = Supervisor::new("presence");
/// let pruned = background::run_from(&service, "prune_cache", Location::caller(), async {
///     current_context().supervisor().name().to_owned()
/// });
/// assert_eq!(pruned.await.as_deref(), Ok("presence"));
/// # }
/// ```
///
/// # Panics
/// Outside a tokio runtime.
pub fn run_from<F>(
    supervisor: &Supervisor,
    name: &str,
    origin: &'static Location<'static>,
    future: F,
) -> Background<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    if supervisor.running_list().is_stopping() {
        tracing::warn!(
            target: "logcontext::background",
            name,
            started_at = %origin,
            "background process refused: shutting down",
        );
        return Background::refused(LogContext::sentinel());
    }
    begin(supervisor, name, origin, future)
}

/// The same, also while the supervisor is shutting down: for what it had taken on before.
fn begin<F>(
    supervisor: &Supervisor,
    name: &str,
    origin: &'static Location<'static>,
    future: F,
) -> Background<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Outcome + Send + 'static,
{
    let starter = meter::current();
    let (context, name) = context(supervisor, name, &starter, origin);
    if tracing::enabled!(target: "logcontext::background", tracing::Level::DEBUG) {
        // In the starter's log, where somebody looks for what it set off; loops start rounds from nowhere.
        let log = if starter.is_sentinel() { &context } else { &starter };
        log.scope_as_follower(|| {
            tracing::debug!(
                target: "logcontext::background",
                process = context.name(),
                started_at = %origin,
                "background process started",
            );
        });
    }
    start(supervisor, context, Some(name), Belongs::ToItself, origin, future)
}

/// A context for one run of the process of this name.
fn context(
    supervisor: &Supervisor,
    name: &str,
    starter: &LogContext,
    origin: &'static Location<'static>,
) -> (LogContext, Arc<str>) {
    let label = supervisor.ledger().labels.named(ContextKind::Background, name);
    let context = LogContext::builder(SmallStr::numbered(name, label.next_number()))
        .kind(ContextKind::Background)
        .supervisor(supervisor)
        .label_index(label.index)
        .started_by(starter)
        .origin(origin)
        .start();
    (context, Arc::clone(&label.name))
}

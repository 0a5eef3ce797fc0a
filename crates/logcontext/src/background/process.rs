//! A background process that is started over and over: by each message, each item, each tick.

use std::future::Future;
use std::panic::Location;

use crate::context::{ContextBuilder, LogContext};
use crate::kind::ContextKind;
use crate::labels::Label;
use crate::outcome::Outcome;
use crate::small_str::SmallStr;
use crate::spawn::{Background, Belongs, start};
use crate::supervisor::Supervisor;

/// A background process that is started over and over: see [`process`].
#[derive(Clone, Debug)]
pub struct Process {
    supervisor: Supervisor,
    label: usize,
    origin: &'static Location<'static>,
}

/// A background process of this name that its owner starts over and over, for messages that come from elsewhere. Unlike
/// [`run`](super::run) it says of each run who is behind it, and takes a run also while the supervisor is shutting down:
/// its owner stops taking messages then, and what it has taken is done.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use logcontext::{Supervisor, background, current_context};
///
/// let handle = background::process(&Supervisor::global(), "presence.changed-sender");
/// let handled = handle.run(
///     |context| context.started_by_name("PUT-17"),
///     async { current_context().started_by().map(str::to_owned) },
/// );
/// assert!(handled.context().name().starts_with("presence.changed-sender-"));
/// assert_eq!(handled.await.unwrap().as_deref(), Some("PUT-17"));
/// # }
/// ```
#[track_caller]
pub fn process(supervisor: &Supervisor, name: &str) -> Process {
    let label = supervisor.ledger().labels.named(ContextKind::Background, name).index;
    Process { supervisor: supervisor.clone(), label, origin: Location::caller() }
}

impl Process {
    /// The place that its runs are started from, if not where it was made.
    #[must_use]
    pub fn origin(mut self, origin: &'static Location<'static>) -> Self {
        self.origin = origin;
        self
    }

    /// Its name, which its runs are totalled by: `other` if the supervisor had no room for one more.
    pub fn name(&self) -> &str {
        &self.label().name
    }

    /// Runs `future` in a context of its own, that `with` may say more of: the request it is for, who started it. After
    /// the deadline of a shutdown nothing is started any more: [`Lost::ShuttingDown`](crate::Lost::ShuttingDown).
    ///
    /// A failure or a panic is logged at once, at error level, with the line that made the process.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn run<F>(
        &self,
        with: impl FnOnce(ContextBuilder) -> ContextBuilder,
        future: F,
    ) -> Background<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Outcome + Send + 'static,
    {
        if self.supervisor.running_list().is_closed() {
            return Background::refused(LogContext::sentinel());
        }
        let label = self.label();
        let context = LogContext::builder(SmallStr::numbered(&label.name, label.next_number()))
            .kind(ContextKind::Background)
            .supervisor(&self.supervisor)
            .label_index(self.label)
            .origin(self.origin);
        let name = std::sync::Arc::clone(&label.name);
        start(&self.supervisor, with(context).start(), Some(name), Belongs::ToItself, self.origin, future)
    }

    fn label(&self) -> &Label {
        self.supervisor.ledger().labels.get(self.label).expect("labels stay as long as their supervisor")
    }
}

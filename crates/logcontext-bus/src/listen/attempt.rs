//! One run of a handler: in a context of its own, and whatever becomes of it, the listener's loop is told, once.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use logcontext::{Background, Ending, Panic, catch_panic, current_context};
use tokio::sync::mpsc::UnboundedSender;

use super::delivered::{Delivered, Received};
use super::figures::count;
use super::handler;
use super::on_error::OnError;
use super::shared::Shared;
use crate::blocking::Threads;
use crate::event::Event;
use crate::handlers::RunningHandler;
use crate::message::printable;
use crate::transport::{DeliveryId, Lease};

/// The one way in which a failure is logged.
macro_rules! log_at {
    ($level:ident, $attempt:expr, $error:expr, $what:expr) => {{
        let (received, shared) = (&$attempt.received, &$attempt.shared);
        tracing::$level!(
            target: "logcontext::bus",
            event = shared.event,
            listener = &*shared.listener,
            id = %received.id.id,
            sender = &*printable(&received.head.origin.sender),
            deliveries = received.deliveries,
            attempt = $attempt.number,
            error = $error,
            "{}",
            $what,
        );
    }};
}

/// What is to become of an event whose handler has ended.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It is done: handled, or disposed of by the listener's policy.
    Done,
    /// The handler is to be tried again, after a pause.
    Again(Duration),
    /// It becomes a dead letter.
    Bury(String),
    /// It is left for others.
    Leave,
    /// It is left for others, and the listener stops; the service as well if it is so.
    Stop { why: String, and_service: bool },
    /// There is no result: the handler was aborted.
    Aborted,
}

/// What the loop is told.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) id: DeliveryId,
    pub(super) verdict: Verdict,
}

/// Tells the loop when this is dropped, wherever that is: so there is no way for a handler to end unnoticed.
#[derive(Debug)]
pub(super) struct Tell {
    ends: UnboundedSender<Ended>,
    id: DeliveryId,
    verdict: Verdict,
    _running: RunningHandler,
    /// What its order is kept by: nobody else has it before the handler has gone, whatever becomes of the loop.
    _lease: Option<Arc<dyn Lease>>,
}

impl Tell {
    pub(super) fn new(
        ends: UnboundedSender<Ended>,
        id: DeliveryId,
        running: RunningHandler,
        lease: Option<Arc<dyn Lease>>,
    ) -> Self {
        Self { ends, id, verdict: Verdict::Aborted, _running: running, _lease: lease }
    }
}

impl Drop for Tell {
    fn drop(&mut self) {
        let verdict = std::mem::replace(&mut self.verdict, Verdict::Aborted);
        // Without a loop there is nobody who would acknowledge it either.
        let _ = self.ends.send(Ended { id: self.id, verdict });
    }
}

/// Why a handler has not handled an event.
#[derive(Debug)]
pub(super) enum Failure {
    /// The message is none that it can read.
    Unreadable(String),
    /// It says so.
    Error(String),
    Panicked(Panic),
}

/// One run of a handler that is about to begin.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) shared: Arc<Shared>,
    pub(super) received: Arc<Received>,
    /// From 1.
    pub(super) number: u32,
    pub(super) tell: Tell,
}

/// What a handler is given of it.
pub(super) struct Given {
    shared: Arc<Shared>,
    about: Delivered,
}

impl Given {
    pub(super) fn about(&self) -> Delivered {
        self.about.clone()
    }

    pub(super) fn threads(&self) -> &Threads {
        &self.shared.inner.threads
    }

    /// # Errors
    /// If it is not as its type and its schema want it.
    pub(super) fn read<E: Event>(&self) -> Result<E, Failure> {
        let json = &self.about.received.message.body;
        let event = handler::read(json).map_err(Failure::Unreadable)?;
        self.shared.check.check(json).map_err(Failure::Unreadable)?;
        Ok(event)
    }
}

impl Attempt {
    /// Begins it, as a background process of the listener's name. What fails is logged here, once, in its context.
    pub(super) fn begin<F, Fut>(self, handle: F) -> Background<()>
    where
        F: FnOnce(Given) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        let origin = self.received.head.origin.clone();
        shared.process.run(
            |context| {
                let request = origin.request("EVENT", shared.event);
                context.request(request).started_by_name(origin.starter()).call_depth(1)
            },
            self.run(handle),
        )
    }

    async fn run<F, Fut>(mut self, handle: F)
    where
        F: FnOnce(Given) -> Fut,
        Fut: Future<Output = Result<(), Failure>>,
    {
        let about = Delivered { received: Arc::clone(&self.received), attempt: self.number };
        let given = Given { shared: Arc::clone(&self.shared), about };
        let result = caught(async move { handle(given).await }).await;
        let context = current_context();
        self.shared.figures.times.observe(context.elapsed());
        let failure = match result {
            Ok(Ok(())) => {
                count(&self.shared.figures.ok);
                self.tell.verdict = Verdict::Done;
                return;
            }
            Ok(Err(failure)) => failure,
            Err(panic) => Failure::Panicked(panic),
        };
        let ending = if matches!(failure, Failure::Panicked(_)) { Ending::Panicked } else { Ending::Failed };
        self.tell.verdict = self.judge(&failure);
        // That it has failed has been logged: the process itself ends well.
        context.finish_as(ending);
    }

    /// What is to become of an event that was not handled. Logs that, once.
    fn judge(&self, failure: &Failure) -> Verdict {
        let (Shared { figures, rules, .. }, text) = (&*self.shared, failure.text());
        if let Failure::Unreadable(_) = failure {
            count(&figures.bad);
            self.log(failure, &text, "cannot be read: it is a dead letter now");
            return Verdict::Bury(text);
        }
        if self.shared.inner.supervisor.is_shutting_down() {
            count(&figures.left);
            self.log_warning(failure, &text, "handler failed during the shutdown: left for others");
            return Verdict::Leave;
        }
        if let Some(pause) = rules.retry.after(self.number) {
            if self.shared.control.stop.is_cancelled() {
                count(&figures.left);
                self.log_warning(failure, &text, "handler failed, its listener stops: left for others");
                return Verdict::Leave;
            }
            count(&figures.retries);
            self.log_info(&text, "handler failed: it will be tried again");
            return Verdict::Again(pause);
        }
        let stop = |and_service| Verdict::Stop { why: text.clone(), and_service };
        match rules.on_error {
            OnError::Ignore => {
                count(&figures.ignored);
                Verdict::Done
            }
            OnError::AcknowledgeAndLog => {
                count(&figures.logged);
                self.log(failure, &text, "handler failed: acknowledged all the same");
                Verdict::Done
            }
            OnError::DeadLetter => {
                count(&figures.dead);
                self.log(failure, &text, "handler failed: the event is a dead letter now");
                Verdict::Bury(text)
            }
            OnError::StopListener => {
                count(&figures.left);
                self.log(failure, &text, "handler failed: its listener stops");
                stop(false)
            }
            OnError::Shutdown => {
                count(&figures.left);
                self.log(failure, &text, "handler failed: the service is asked to shut down");
                stop(true)
            }
        }
    }

    fn log(&self, failure: &Failure, error: &str, what: &str) {
        match failure {
            // It is in the log.
            Failure::Panicked(_) => self.log_info(error, what),
            _ => log_at!(error, self, error, what),
        }
    }

    fn log_warning(&self, failure: &Failure, error: &str, what: &str) {
        match failure {
            Failure::Panicked(_) => self.log_info(error, what),
            _ => log_at!(warn, self, error, what),
        }
    }

    fn log_info(&self, error: &str, what: &str) {
        log_at!(info, self, error, what);
    }
}

impl Failure {
    /// On one line.
    fn text(&self) -> String {
        match self {
            Self::Unreadable(why) => printable(why).into(),
            Self::Error(error) => printable(error).into(),
            Self::Panicked(panic) => format!("panicked: {}", printable(panic.message())),
        }
    }
}

/// Its output, or its panic, which has been reported. It is gone by then.
async fn caught<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(Some(future));
    let mut result = poll_fn(|cx| {
        let Some(inner) = future.as_mut().as_pin_mut() else { return Poll::Pending };
        match catch_panic(|| inner.poll(cx)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await;
    if let Err(panic) = &mut result {
        panic.report();
    }
    if let Err(mut panic) = catch_panic(|| future.set(None)) {
        panic.report();
    }
    result
}

//! Calls, from the side of who calls.
//!
//! # Why nobody waits for ever
//!
//! A call waits for three things, one after the other: for the transport to take it, for its server to begin it, and for
//! its handler. Each is bounded by the call's time, by a [clock](crate::waits) that needs no runtime of the caller's. But
//! a cycle that is broken by a timeout is a cycle all the same: there is none.
//!
//! - The transport takes commands from a queue and waits for nothing but its broker: never for a slot, a handler or a
//!   caller. Answers go by a way of their own, so no call that waits for room keeps an answer from being sent.
//! - What is told to a call is put down where the call looks ([`Inbox`](crate::transport::Inbox)): whoever tells it does
//!   not wait until it has looked.
//! - A call that no handler waits for may wait for a slot. Those who hold slots are handlers, and they wait for nested
//!   calls only, which need none: a nested call is begun as soon as it has come, whatever else runs. So a slot is never
//!   waited for by someone whom its holder waits for.
//! - A handler that blocks has a thread of its own, and there is always one more
//!   ([`blocking`](crate::blocking)): so is a thread never waited for.
//! - What is left are chains of nested calls, of one service or several, and a chain has an end: each message carries its
//!   depth, and one that is too deep is refused at once. So are nested calls where there are too many at once.
//!
//! ```text
//!  caller ── call ──▶ queue ──▶ broker ──▶ slots ──▶ handler ──┐
//!    ▲                                                         │ nested call: no slots, depth + 1
//!    └── inbox ◀── broker ◀── queue of answers ◀── answer ─────┴──▶ queue ──▶ broker ──▶ handler ...
//! ```

mod answer;
mod asking;
mod callees;

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use crate::bus::{Bus, Inner};
use crate::error::CallError;
use crate::message::encode_with_room;
use crate::rpc::Rpc;
use asking::Asking;
pub(crate) use callees::{Callee, Callees};

impl Bus {
    /// Asks whoever serves it. The request is read and checked now; it is sent when this is awaited, from the current
    /// context, by whose request its handler is found. It is handled at most once.
    ///
    /// Dropping the future cancels the call: it is not begun if that is possible, and its handler is told. A handler that
    /// calls never waits for somebody's slot, its own service's included.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use logcontext_bus::transport::Memory;
    /// use logcontext_bus::{Bus, BusConfig, CallError, Rpc};
    /// use schemars::JsonSchema;
    /// use serde::{Deserialize, Serialize};
    /// use std::time::Duration;
    ///
    /// #[derive(Serialize, Deserialize, JsonSchema)]
    /// struct Half(u32);
    ///
    /// impl Rpc for Half {
    ///     const NAME: &str = "half";
    ///     type Response = u32;
    ///     type Error = String;
    /// }
    ///
    /// let bus = Bus::over(&BusConfig::new("maths", "memory:"), &Memory::new())?;
    /// assert_eq!(bus.call(Half(34)).await, Err(CallError::NoServer("half")));
    ///
    /// let half = async |Half(n)| if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) };
    /// bus.serve::<Half>(half).start().await?;
    /// assert_eq!(bus.call(Half(34)).deadline(Duration::from_secs(2)).await, Ok(17));
    /// assert_eq!(bus.call(Half(35)).await, Err(CallError::Handler("35 is odd".to_owned())));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of [`CallError`], each by its kind.
    ///
    /// In the sentinel it raises a diagnostic, [`CommandFromSentinel`](logcontext::diagnostics::DiagnosticKind), and the
    /// call is made all the same.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a request is for one call")]
    pub fn call<R: Rpc>(&self, request: R) -> Call<R> {
        let inner = Arc::clone(self.inner());
        let prepared = prepare(&inner, &request);
        Call { timeout: inner.config.call_timeout, inner, prepared, origin: Location::caller() }
    }
}

/// A call that is about to be made: await it, or say [`blocking`](Self::blocking).
#[must_use = "a call is made by awaiting this, or by `blocking`"]
pub struct Call<R: Rpc> {
    inner: Arc<Inner>,
    prepared: Prepared<R>,
    timeout: Duration,
    origin: &'static Location<'static>,
}

/// Who is called with what; or why it cannot be sent.
type Prepared<R> = Result<(Arc<Callee>, Vec<u8>), CallError<<R as Rpc>::Error>>;

impl<R: Rpc> Call<R> {
    /// Waits so long for the answer, from when it is awaited; unless told otherwise as long as the
    /// [configuration](crate::BusConfig::call_timeout) says. The message carries it: who serves it does nothing for it
    /// beyond that.
    #[doc(alias = "timeout")]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.timeout = after;
        self
    }

    /// Waits on this thread: for sync code, and for handlers that block. The bus's runtime must be at work elsewhere: one
    /// that is of a single thread must be within its `block_on`.
    ///
    /// # Errors
    /// Those of [`CallError`], each by its kind.
    ///
    /// # Panics
    /// In async code: there it would block an executor.
    pub fn blocking(self) -> Result<R::Response, CallError<R::Error>> {
        let runtime = self.inner.runtime.clone();
        runtime.block_on(self.into_future())
    }
}

impl<R: Rpc> IntoFuture for Call<R> {
    type Output = Result<R::Response, CallError<R::Error>>;
    type IntoFuture = Calling<R>;

    fn into_future(self) -> Calling<R> {
        let Self { inner, prepared, timeout, origin } = self;
        let asking = prepared.map(|(callee, body)| Asking::new(inner, callee, body, timeout, origin));
        let asking = asking.map_err(Some);
        Calling { asking, is_over: false, rpc: PhantomData }
    }
}

impl<R: Rpc> fmt::Debug for Call<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("rpc", &R::NAME).field("deadline", &self.timeout).finish_non_exhaustive()
    }
}

/// A call that waits for its answer: what awaiting a [`Call`] makes of it. It needs no runtime of whoever polls it.
/// Dropping it cancels the call.
#[must_use = "futures do nothing unless polled"]
pub struct Calling<R: Rpc> {
    asking: Result<Asking, Option<CallError<R::Error>>>,
    is_over: bool,
    rpc: PhantomData<fn() -> R>,
}

// Nothing in here is pinned.
impl<R: Rpc> Unpin for Calling<R> {}

impl<R: Rpc> Future for Calling<R> {
    type Output = Result<R::Response, CallError<R::Error>>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(!self.is_over, "`Calling` polled after it was ready");
        let result = match &mut self.asking {
            Ok(asking) => {
                let outcome = ready!(asking.poll(cx));
                let result = answer::read::<R>(outcome, asking);
                asking.count(&result);
                result
            }
            Err(error) => Err(error.take().unwrap_or(CallError::Closed)),
        };
        self.is_over = true;
        Poll::Ready(result)
    }
}

impl<R: Rpc> fmt::Debug for Calling<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calling").field("rpc", &R::NAME).finish_non_exhaustive()
    }
}

fn prepare<R: Rpc>(inner: &Arc<Inner>, request: &R) -> Prepared<R> {
    let callee = inner.callees.of::<R>(inner)?;
    let body = match encode_with_room(request) {
        Ok(body) => {
            let checked = callee.request.check(&body).and_then(|()| callee.theirs.check(&body));
            checked.map(|()| body).map_err(CallError::Invalid)
        }
        Err(error) => Err(CallError::Encode(error)),
    };
    match body {
        Ok(body) => Ok((callee, body)),
        Err(error) => {
            callee.ended(&error);
            Err(error)
        }
    }
}

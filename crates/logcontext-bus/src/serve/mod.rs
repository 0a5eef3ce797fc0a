//! Calls, from the side of who serves them.
//!
//! One loop for each RPC takes calls from the transport and starts a background process for each, in a context of its
//! own. It waits for nothing else: not for a handler, nor for an answer to be sent. The process reads the request, runs
//! the handler, and answers. Whatever happens to it, the call is answered: a panic, an abort at the end of a shutdown, a
//! request that cannot be read, and one that nobody has room for.

mod answerer;
mod asked;
mod attend;
mod builder;
mod caller;
mod examine;
mod figures;
mod handle;
mod receive;
mod server;
mod taken;

use std::future::Future;

use crate::bus::Bus;
use crate::rpc::Rpc;
use answerer::{Async, Blocking, WithCaller, WithoutCaller};
pub use builder::{Serve, Served};
pub use caller::Caller;
pub(crate) use server::Serving;

/// An async handler of calls: `async fn(R) -> Result<R::Response, R::Error>`, or a closure like that.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle `{R}`",
    label = "expected `async fn({R}) -> Result<Response, Error>` with the response and the error of `{R}`",
    note = "its future must be `Send`; a handler that blocks is for `serve_blocking`"
)]
pub trait Handler<R: Rpc>: Fn(R) -> <Self as Handler<R>>::Answer + Send + Sync + 'static {
    /// What it is awaited for.
    type Answer: Future<Output = Result<R::Response, R::Error>> + Send + 'static;
}

impl<R: Rpc, F, A> Handler<R> for F
where
    F: Fn(R) -> A + Send + Sync + 'static,
    A: Future<Output = Result<R::Response, R::Error>> + Send + 'static,
{
    type Answer = A;
}

/// The same, with who has called.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle `{R}`",
    label = "expected `async fn({R}, Caller) -> Result<Response, Error>` with the response and the error of `{R}`",
    note = "its future must be `Send`; a handler that blocks is for `serve_blocking_with_caller`"
)]
pub trait CallerHandler<R: Rpc>:
    Fn(R, Caller) -> <Self as CallerHandler<R>>::Answer + Send + Sync + 'static
{
    /// What it is awaited for.
    type Answer: Future<Output = Result<R::Response, R::Error>> + Send + 'static;
}

impl<R: Rpc, F, A> CallerHandler<R> for F
where
    F: Fn(R, Caller) -> A + Send + Sync + 'static,
    A: Future<Output = Result<R::Response, R::Error>> + Send + 'static,
{
    type Answer = A;
}

impl Bus {
    /// Serves calls with an async handler: `start` it. Each call is handled in a background process with a context of its
    /// own (`presence.get-812`), for the request that has led to it, side by side with others. The handler's `Err` is
    /// the caller's answer as it is, and is logged here; a panic is logged here, and the caller is told only that.
    ///
    /// A handler is dropped when its caller waits no more, or has waited for as long as it wanted to.
    #[track_caller]
    pub fn serve<R: Rpc>(&self, handler: impl Handler<R>) -> Serve {
        Serve::new::<R, _>(self, move |shape| Async::new(shape, WithoutCaller(handler)))
    }

    /// The same, with a handler that is told who has called, and for how long it is waited for.
    #[track_caller]
    pub fn serve_with_caller<R: Rpc>(&self, handler: impl CallerHandler<R>) -> Serve {
        Serve::new::<R, _>(self, move |shape| Async::new(shape, WithCaller(handler)))
    }

    /// Serves calls with a handler that may block: each call is handled on a thread of the bus, in a context of its own
    /// and with the bus's runtime entered. It may wait for calls of its own ([`Call::blocking`](crate::Call::blocking)),
    /// and start a runtime of its own.
    ///
    /// A handler that runs is not ended from outside: it can ask its [`Caller`] whether somebody still waits for it.
    #[track_caller]
    pub fn serve_blocking<R: Rpc>(
        &self,
        handler: impl Fn(R) -> Result<R::Response, R::Error> + Send + Sync + 'static,
    ) -> Serve {
        Serve::new::<R, _>(self, move |shape| Blocking::new(shape, WithoutCaller(handler)))
    }

    /// The same, with a handler that is told who has called, and for how long it is waited for.
    #[track_caller]
    pub fn serve_blocking_with_caller<R: Rpc>(
        &self,
        handler: impl Fn(R, Caller) -> Result<R::Response, R::Error> + Send + Sync + 'static,
    ) -> Serve {
        Serve::new::<R, _>(self, move |shape| Blocking::new(shape, WithCaller(handler)))
    }
}

//! From the bytes of a request to the bytes of its answer.

use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use super::caller::Caller;
use super::{CallerHandler, Handler};
use crate::blocking::{NotDone, Threads};
use crate::message::{ReplyHead, Verdict, decode, encode_with_room, printable};
use crate::rpc::Rpc;
use crate::schema::{Check, Checks};

/// What is said to who has called.
pub(super) struct Said {
    pub(super) verdict: Verdict,
    pub(super) detail: Option<Box<str>>,
    /// With room behind it.
    pub(super) body: Vec<u8>,
    /// What is logged here besides.
    pub(super) failure: Option<Failure>,
}

pub(super) type Failure = Box<dyn Display + Send + Sync>;

impl Said {
    pub(super) fn only(verdict: Verdict) -> Self {
        Self { verdict, detail: None, body: Vec::new(), failure: None }
    }

    pub(super) fn because(verdict: Verdict, detail: &str) -> Self {
        Self { detail: Some(printable(detail)), ..Self::only(verdict) }
    }
}

/// Answers requests, one at a time or many at once.
pub(super) trait Answerer: Send + Sync + 'static {
    /// May it be dropped on its way?
    const CAN_BE_DROPPED: bool;

    fn answer(
        self: Arc<Self>,
        threads: &Threads,
        body: Bytes,
        caller: impl FnOnce() -> Caller + Send + 'static,
    ) -> impl Future<Output = Result<Said, NotDone>> + Send;
}

/// What is known of the shapes of an RPC.
pub(super) struct Shape<R> {
    request: Arc<Check>,
    response: Arc<Check>,
    error: Arc<Check>,
    max_message: usize,
    rpc: PhantomData<fn() -> R>,
}

impl<R: Rpc> Shape<R> {
    pub(super) fn new(checks: &Checks, max_message: usize) -> Self {
        Self {
            request: checks.of::<R>(),
            response: checks.of::<R::Response>(),
            error: checks.of::<R::Error>(),
            max_message,
            rpc: PhantomData,
        }
    }

    fn read(&self, body: &[u8]) -> Result<R, Said> {
        let request = decode(body).and_then(|request| self.request.check(body).map(|()| request));
        request.map_err(|error| Said::because(Verdict::BadRequest, &error))
    }

    fn write(&self, answer: Result<R::Response, R::Error>) -> Said {
        let (verdict, body, failure) = match answer {
            Ok(response) => (Verdict::Ok, self.encode(&response, &self.response), None),
            Err(error) => {
                (Verdict::Error, self.encode(&error, &self.error), Some(Box::new(error) as Failure))
            }
        };
        match body {
            Ok(body) => Said { verdict, detail: None, body, failure },
            Err(error) => {
                let failure: Failure = match failure {
                    Some(failure) => Box::new(format!("{failure}; which {error}")),
                    None => Box::new(format!("the answer {error}")),
                };
                Said { failure: Some(failure), ..Said::because(Verdict::BadResponse, &error) }
            }
        }
    }

    fn encode(&self, value: &impl serde::Serialize, check: &Check) -> Result<Vec<u8>, String> {
        let body = encode_with_room(value).map_err(|error| format!("cannot be written as JSON: {error}"))?;
        // The head of an error is one byte or two longer. Where there is no room for its cost, it comes without.
        let (size, limit) = (body.len() + ReplyHead::OK.len() + 3, self.max_message);
        if size > limit {
            return Err(format!("is {size} bytes long: expected at most {limit}"));
        }
        check.check(&body).map_err(|error| format!("is not as its schema wants it: {error}"))?;
        Ok(body)
    }
}

/// A handler that is not told who has called.
pub(super) struct WithoutCaller<H>(pub(super) H);

/// A handler that is.
pub(super) struct WithCaller<H>(pub(super) H);

/// Runs the handler on the bus's runtime.
pub(super) struct Async<R, H> {
    shape: Shape<R>,
    handler: H,
}

impl<R, H> Async<R, H> {
    pub(super) fn new(shape: Shape<R>, handler: H) -> Self {
        Self { shape, handler }
    }
}

/// Runs the handler on a thread of the bus's.
pub(super) struct Blocking<R, H> {
    shape: Shape<R>,
    handler: H,
}

impl<R, H> Blocking<R, H> {
    pub(super) fn new(shape: Shape<R>, handler: H) -> Self {
        Self { shape, handler }
    }
}

/// Handlers whose output is awaited.
pub(super) trait InvokeAsync<R: Rpc>: Send + Sync + 'static {
    type Answer: Future<Output = Result<R::Response, R::Error>> + Send;
    fn invoke(&self, request: R, caller: impl FnOnce() -> Caller) -> Self::Answer;
}

impl<R: Rpc, H: Handler<R>> InvokeAsync<R> for WithoutCaller<H> {
    type Answer = <H as Handler<R>>::Answer;

    fn invoke(&self, request: R, _: impl FnOnce() -> Caller) -> Self::Answer {
        (self.0)(request)
    }
}

impl<R: Rpc, H: CallerHandler<R>> InvokeAsync<R> for WithCaller<H> {
    type Answer = <H as CallerHandler<R>>::Answer;

    fn invoke(&self, request: R, caller: impl FnOnce() -> Caller) -> Self::Answer {
        (self.0)(request, caller())
    }
}

impl<R: Rpc, H: InvokeAsync<R>> Answerer for Async<R, H> {
    const CAN_BE_DROPPED: bool = true;

    async fn answer(
        self: Arc<Self>,
        _: &Threads,
        body: Bytes,
        caller: impl FnOnce() -> Caller + Send + 'static,
    ) -> Result<Said, NotDone> {
        let request = match self.shape.read(&body) {
            Ok(request) => request,
            Err(said) => return Ok(said),
        };
        drop(body);
        let answer = self.handler.invoke(request, caller).await;
        Ok(self.shape.write(answer))
    }
}

/// Handlers whose output is the answer.
pub(super) trait InvokeBlocking<R: Rpc>: Send + Sync + 'static {
    fn invoke(&self, request: R, caller: impl FnOnce() -> Caller) -> Result<R::Response, R::Error>;
}

impl<R: Rpc, H> InvokeBlocking<R> for WithoutCaller<H>
where
    H: Fn(R) -> Result<R::Response, R::Error> + Send + Sync + 'static,
{
    fn invoke(&self, request: R, _: impl FnOnce() -> Caller) -> Result<R::Response, R::Error> {
        (self.0)(request)
    }
}

impl<R: Rpc, H> InvokeBlocking<R> for WithCaller<H>
where
    H: Fn(R, Caller) -> Result<R::Response, R::Error> + Send + Sync + 'static,
{
    fn invoke(&self, request: R, caller: impl FnOnce() -> Caller) -> Result<R::Response, R::Error> {
        (self.0)(request, caller())
    }
}

impl<R: Rpc, H: InvokeBlocking<R>> Answerer for Blocking<R, H> {
    const CAN_BE_DROPPED: bool = false;

    fn answer(
        self: Arc<Self>,
        threads: &Threads,
        body: Bytes,
        caller: impl FnOnce() -> Caller + Send + 'static,
    ) -> impl Future<Output = Result<Said, NotDone>> + Send {
        threads.run(move || match self.shape.read(&body) {
            Ok(request) => self.shape.write(self.handler.invoke(request, caller)),
            Err(said) => said,
        })
    }
}

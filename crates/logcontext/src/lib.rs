//! Log contexts for async services: whose log line is this, and what did it cost?
//!
//! A [`LogContext`] stands for one request or one background process. One is current on each thread
//! ([`current_context`]); futures carry theirs along ([`FutureExt::in_context`]); every slice of CPU is charged
//! to the context it ran in ([`LogContext::usage`]), and [`books`] shows that nothing was forgotten. What is
//! fired off ([`run_in_background`], [`background`]) is listed, watched and reported.
//!
//! ```
//! use logcontext::{FutureExt, LogContext, current_context};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let request = LogContext::builder("GET-17").label("GET /presence/{user}").start();
//! let answer = async {
//!     // whatever is logged or burned here, on whichever thread it is polled, is the request's
//!     current_context().name().to_owned()
//! };
//! assert_eq!(answer.in_context(request.clone()).await, "GET-17");
//! println!("{:?}", request.finish());
//! # });
//! ```
//!
//! `logcontext-tracing` puts the context on log records, `logcontext-http` makes one per HTTP request.
//!
//! # Features
//! - `tokio` (default): what is fired off, background processes, shutdown. Without it the crate knows no runtime.
//! - `testing`: the test kit.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod books;
mod callback;
mod clock;
mod context;
mod current;
pub mod diagnostics;
mod driver;
mod executor;
mod future;
mod kind;
mod labels;
mod ledger;
mod measure;
mod meter;
mod names;
mod outcome;
mod panics;
mod remote;
mod request;
mod small_str;
pub mod source;
mod stuck;
mod supervisor;
mod sync;
mod trace;
mod usage;

#[cfg(all(doctest, feature = "tokio"))]
mod guide;

#[cfg(feature = "tokio")]
pub mod background;
#[cfg(feature = "tokio")]
pub mod concurrency;
#[cfg(feature = "tokio")]
mod running;
#[cfg(feature = "tokio")]
mod spawn;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(all(feature = "tokio", tokio_unstable))]
pub mod watch;

pub use books::{Books, after_fork, books};
pub use callback::{preserve_fn, preserve_mut, preserve_once, preserve_ref};
pub use context::{ContextBuilder, LogContext};
#[doc(hidden)]
pub use current::carried;
pub use current::{Entered, current_context, expect_sentinel, set_current_context};
pub use driver::DriverThread;
pub use future::{FutureExt, InContext};
pub use kind::{ContextKind, Ending};
pub use ledger::LabelTotals;
pub use measure::{measure, measure_sync};
pub use names::ClaimedName;
pub use outcome::Outcome;
pub use panics::{Panic, catch_panic, report_panic};
pub use remote::RemoteUsage;
pub use request::{Request, RequestParts};
pub use small_str::SmallStr;
pub use stuck::SlowPolls;
pub use supervisor::Supervisor;
pub use trace::{InvalidTraceparent, TraceContext};
pub use usage::{Counter, EVT_DB_FETCH_COUNT, ResourceUsage};

#[cfg(feature = "tokio")]
pub use running::{Running, Shutdown};
#[cfg(feature = "tokio")]
pub use spawn::{Background, Lost, block_in_place, run_in_background, spawn_blocking};

#[doc(hidden)]
pub mod bench {
    //! For the benchmarks, which put the meter beside the clocks that it reads.

    pub use crate::context::context_bytes;

    /// One reading of the thread's CPU clock, in nanoseconds.
    pub fn thread_cpu_nanos() -> Option<u64> {
        crate::clock::thread_cpu()
    }
}

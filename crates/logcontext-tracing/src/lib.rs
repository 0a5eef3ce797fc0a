//! Every log record with the context it belongs to: of `tracing` and of `log`, as text or as JSON, written by a
//! thread that the service does not wait for.
//!
//! ```
//! use logcontext::LogContext;
//!
//! fn main() -> Result<(), logcontext_tracing::InitError> {
//!     let _log = logcontext_tracing::init()?;
//!     LogContext::new("GET-17").scope(|| tracing::info!(devices = 2, "online"));
//!     // 2026-11-21T07:00:00.123456Z INFO GET-17 presence: online devices=2
//!     # assert_eq!((_log.flush(), _log.writer().written()), (true, 1));
//!     Ok(())
//! }
//! ```
//!
//! [`builder`] has the choices: [JSON](JsonFormat) or [text](TextFormat), a filter, a [target](LogTarget), what
//! happens [when the queue is full](WhenFull). A panic is a record as well, in the context in which it happened,
//! and only one ([`LogGuard::with_panic_hook`]).
//!
//! Who puts together a subscriber of their own takes a [`LogLayer`] and a [`LogWriter`], or gives a format to
//! `tracing_subscriber::fmt::layer().event_format(..)`. Other layers work beside them.
//!
//! A record tells the context that its thread is in: it is set by `logcontext`'s combinators. Where a service uses
//! `tracing`'s spans already, [`ContextSpans`] lets contexts ride on them.

mod encode;
mod escape;
mod event;
mod filter;
mod guard;
mod init;
mod json;
mod layer;
mod line;
mod names;
mod seconds;
mod short;
mod spans;
mod text;
mod time;
mod writer;

pub use encode::Format;
pub use filter::FilterError;
pub use guard::LogGuard;
pub use init::{Builder, InitError, builder, init};
pub use json::JsonFormat;
pub use layer::LogLayer;
pub use spans::{ContextSpans, SpanField};
pub use text::TextFormat;
pub use writer::{LogTarget, LogWriter, RecordWriter, WhenFull, WriterOptions};

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;

/// And the guide's.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/tracing.md")]
pub struct Guide;

//! How large a request's body may be, and how long it may take.

mod body;
mod future;
mod layer;
mod refusal;
mod service;

pub use body::{BodyTimeoutError, LimitedBody};
pub use future::BodyLimitFuture;
pub use layer::BodyLimitLayer;
pub use service::BodyLimitService;

use layer::Limits;
use refusal::{Refusal, Verdict};

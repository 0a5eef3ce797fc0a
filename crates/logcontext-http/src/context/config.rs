use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, request};
use logcontext::Supervisor;

pub(crate) type Redact = dyn for<'a> Fn(&'a str, Option<&'a str>) -> Cow<'a, str> + Send + Sync;
pub(crate) type MaySee = dyn Fn(&request::Parts) -> bool + Send + Sync;

/// What a [`ContextLayer`](crate::ContextLayer) was told.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) supervisor: Supervisor,
    pub(crate) listener_tag: Option<Box<str>>,
    pub(crate) quiet_paths: Vec<Box<str>>,
    pub(crate) redact: Option<Arc<Redact>>,
    pub(crate) request_id: Option<HeaderName>,
    pub(crate) traces: Traces,
    pub(crate) server: Option<HeaderValue>,
    pub(crate) server_timing: Option<Arc<MaySee>>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traces {
    /// Clients do not say which trace a request belongs to.
    pub(crate) restart: bool,
    pub(crate) sample_new: bool,
}

impl Config {
    pub(crate) fn new() -> Self {
        Self {
            supervisor: Supervisor::current(),
            listener_tag: None,
            quiet_paths: Vec::new(),
            redact: None,
            request_id: None,
            traces: Traces::default(),
            server: None,
            server_timing: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("supervisor", &self.supervisor)
            .field("listener_tag", &self.listener_tag)
            .field("quiet_paths", &self.quiet_paths)
            .field("request_id", &self.request_id)
            .field("traces", &self.traces)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

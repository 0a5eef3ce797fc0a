//! The easy way in: [`init`], or [`builder`] for who wants something else.

use std::fmt;
use std::io::{self, Write};

use tracing::Dispatch;
use tracing_log::{AsLog, LogTracer};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use crate::filter::{self, FilterError};
use crate::guard::LogGuard;
use crate::layer::LogLayer;
use crate::spans::{ContextSpans, Gate};
use crate::writer::{LogTarget, WhenFull, WriterOptions};
use crate::{JsonFormat, TextFormat};

/// Logs as text to standard error: what `RUST_LOG` says, or all from `info` on. Records of `tracing` and of
/// `log`, and panics. Keep the guard.
///
/// # Errors
/// If `RUST_LOG` makes no sense, or something else takes the process's log records already.
///
/// ```
/// use logcontext::LogContext;
///
/// fn main() -> Result<(), logcontext_tracing::InitError> {
///     let log = logcontext_tracing::init()?;
///     LogContext::new("GET-17").scope(|| tracing::info!("hello"));
/// #   assert!(log.flush());
/// #   assert_eq!(log.writer().written(), 1);
///     Ok(())
/// }
/// ```
pub fn init() -> Result<LogGuard, InitError> {
    builder().filter_from_env("RUST_LOG")?.init()
}

/// A log in the making: text to standard error, from `info` on, unless told otherwise.
///
/// ```
/// use logcontext_tracing::{LogTarget, WhenFull};
///
/// let path = std::env::temp_dir().join(format!("logcontext-doc-{}.log", std::process::id()));
/// let log = logcontext_tracing::builder()
///     .json()
///     .filter("info,hyper=warn")?
///     .target(LogTarget::file(&path))
///     .when_full(WhenFull::Block)
///     .init()?;
/// tracing::info!(devices = 2, "online");
/// log::info!("hello from the log crate");
/// drop(log);
/// assert_eq!(std::fs::read_to_string(&path)?.lines().count(), 2);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn builder() -> Builder {
    Builder {
        json: false,
        locations: false,
        filter: Targets::new().with_default(LevelFilter::INFO),
        target: LogTarget::stderr(),
        options: WriterOptions::default(),
        panic_hook: true,
        spans: None,
    }
}

/// See [`builder`].
#[derive(Debug)]
#[must_use = "nothing is logged before `init()`"]
pub struct Builder {
    json: bool,
    locations: bool,
    filter: Targets,
    target: LogTarget,
    options: WriterOptions,
    panic_hook: bool,
    spans: Option<ContextSpans>,
}

impl Builder {
    /// One JSON object a line: see [`JsonFormat`].
    pub fn json(mut self) -> Self {
        self.json = true;
        self
    }

    /// Lines that people read: see [`TextFormat`].
    pub fn text(mut self) -> Self {
        self.json = false;
        self
    }

    /// Tell the file and line of every record, not only of the `log` crate's.
    pub fn locations(mut self, tell: bool) -> Self {
        self.locations = tell;
        self
    }

    /// What is logged: a level for all, `target=level` for what begins with that target, several of them with
    /// commas between. Targets are the paths of modules, unless an event says otherwise. What no part is for is
    /// not logged.
    ///
    /// # Errors
    /// If a part of it means nothing.
    pub fn filter(mut self, filter: &str) -> Result<Self, FilterError> {
        self.filter = filter::parse(filter)?;
        Ok(self)
    }

    /// The same from an environment variable, if it is set and not empty.
    ///
    /// # Errors
    /// If a part of it means nothing.
    pub fn filter_from_env(self, variable: &str) -> Result<Self, FilterError> {
        match std::env::var_os(variable) {
            Some(filter) if !filter.is_empty() => self.filter(&filter.to_string_lossy()),
            _ => Ok(self),
        }
    }

    /// The same, made by hand.
    pub fn targets(mut self, filter: Targets) -> Self {
        self.filter = filter;
        self
    }

    /// Where the lines go.
    pub fn target(mut self, target: LogTarget) -> Self {
        self.target = target;
        self
    }

    /// They go there: short for [`LogTarget::writer`].
    pub fn writer(self, writer: impl Write + Send + 'static) -> Self {
        self.target(LogTarget::writer(writer))
    }

    /// What happens to a record for which the writer's queue has no room: dropped unless told otherwise.
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.options = self.options.when_full(policy);
        self
    }

    /// The options of the writer, all of them.
    pub fn writer_options(mut self, options: WriterOptions) -> Self {
        self.options = options;
        self
    }

    /// Whether panics are records of the log, which replace the report on standard error: yes, unless told
    /// otherwise. See [`LogGuard::with_panic_hook`].
    pub fn panic_hook(mut self, install: bool) -> Self {
        self.panic_hook = install;
        self
    }

    /// Contexts ride on spans: see [`ContextSpans`]. Spans that may become contexts pass the filter, whatever it says
    /// of them; what is logged stays what it was.
    ///
    /// ```
    /// use logcontext_tracing::ContextSpans;
    ///
    /// let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    /// # struct Lines(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    /// # impl std::io::Write for Lines {
    /// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
    /// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
    /// # }
    /// # let writer = Lines(lines.clone());
    /// let log = logcontext_tracing::builder()
    ///     .json()
    ///     .writer(writer)
    ///     .contexts_on_spans(ContextSpans::new())
    ///     .init()?;
    /// tracing::debug_span!("request", method = "GET", path = "/").in_scope(|| tracing::info!("hello"));
    /// drop(log);
    /// let line = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
    /// assert!(line.contains(r#""message":"hello","context":"GET-1","request_id":"GET-1","method":"GET""#), "{line}");
    /// # Ok::<(), logcontext_tracing::InitError>(())
    /// ```
    pub fn contexts_on_spans(mut self, spans: ContextSpans) -> Self {
        self.spans = Some(spans);
        self
    }

    /// Starts the log, for the whole process.
    ///
    /// # Errors
    /// If the target cannot be opened, or something else takes the process's log records already.
    pub fn init(self) -> Result<LogGuard, InitError> {
        let panic_hook = self.panic_hook;
        // What comes from `log` is no span.
        let level = Layer::<Registry>::max_level_hint(&self.filter).unwrap_or(LevelFilter::TRACE);
        let (dispatch, guard) = self.build()?;
        tracing::dispatcher::set_global_default(dispatch).map_err(|_| InitError::Tracing)?;
        LogTracer::init_with_filter(level.as_log()).map_err(|_| InitError::Log)?;
        Ok(if panic_hook { guard.with_panic_hook() } else { guard })
    }

    /// Starts the writer and makes a subscriber, but installs nothing: for one thread, a test, a bench.
    ///
    /// # Errors
    /// If the target cannot be opened.
    ///
    /// ```
    /// let (subscriber, log) = logcontext_tracing::builder().json().writer(std::io::sink()).build()?;
    /// tracing::dispatcher::with_default(&subscriber, || tracing::info!("hello"));
    /// assert!(log.flush());
    /// assert_eq!(log.writer().written(), 1);
    /// # Ok::<(), logcontext_tracing::InitError>(())
    /// ```
    pub fn build(self) -> Result<(Dispatch, LogGuard), InitError> {
        let Self { json, locations, filter, target, options, spans, .. } = self;
        let options = if json { options.json_notes() } else { options };
        let name = target.name().to_owned();
        let writer = options.start(target).map_err(|error| InitError::Target(name, error))?;
        let guard = writer.guard();
        let dispatch = if json {
            subscriber(filter, spans, LogLayer::new(JsonFormat::new().locations(locations), writer))
        } else {
            subscriber(filter, spans, LogLayer::new(TextFormat::new().locations(locations), writer))
        };
        Ok((dispatch, guard))
    }
}

fn subscriber<L>(filter: Targets, spans: Option<ContextSpans>, layer: L) -> Dispatch
where
    L: Layer<Layered<Gate, Registry>> + Layer<Layered<ContextSpans, Layered<Gate, Registry>>> + Send + Sync,
{
    // One filter in front of all, not of the layer: what it refuses costs a load and a branch.
    match spans {
        None => Dispatch::new(tracing_subscriber::registry().with(Gate::from(filter)).with(layer)),
        Some(spans) => {
            let gate = spans.gate(filter);
            Dispatch::new(tracing_subscriber::registry().with(gate).with(spans).with(layer))
        }
    }
}

/// Why a log could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// A part of the filter means nothing.
    Filter(FilterError),
    /// The target of this name cannot be opened, or its thread not started.
    Target(String, io::Error),
    /// Another subscriber takes `tracing`'s records already.
    Tracing,
    /// Another logger takes the `log` crate's records already.
    Log,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(error) => error.fmt(f),
            Self::Target(name, _) => write!(f, "cannot log to {name}"),
            Self::Tracing => f.write_str("another subscriber takes tracing's records already"),
            Self::Log => f.write_str("another logger takes the log crate's records already"),
        }
    }
}

impl std::error::Error for InitError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Target(_, error) => Some(error),
            _ => None,
        }
    }
}

impl From<FilterError> for InitError {
    fn from(error: FilterError) -> Self {
        Self::Filter(error)
    }
}

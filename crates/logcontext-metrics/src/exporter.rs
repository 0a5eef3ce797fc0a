//! [`Exporter`]: reads a supervisor and writes it down.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use logcontext::Supervisor;

use crate::encode::Text;
use crate::format::Format;
use crate::own::{BooksHigh, Own};
use crate::process::Process;
use crate::sources::{self, Sources};
use crate::supervised::{self, Rows};
use crate::sync::lock;

/// As many as the core keeps apart.
const LABEL_LIMIT: usize = 1_000;

/// Writes the figures of one supervisor, of its sources and of the process. Clones are the same exporter.
///
/// Keep one for each supervisor: it remembers what it has shown, so that no counter ever goes down.
///
/// ```
/// use logcontext::Supervisor;
/// use logcontext_metrics::{Exporter, Format};
///
/// let exporter = Exporter::new(&Supervisor::new("presence"));
/// let text = exporter.render(Format::OpenMetrics);
/// assert!(text.contains("\nlogcontext_slow_polls_total{cause=\"blocked\"} 0\n"));
/// assert!(text.ends_with("# EOF\n"));
/// ```
#[derive(Clone)]
pub struct Exporter(Arc<Inner>);

struct Inner {
    supervisor: Supervisor,
    shown: Mutex<ShownSoFar>,
    /// How long the last text was: the next one will be about as long.
    capacity: AtomicUsize,
}

/// What is remembered from scrape to scrape. Held while totals are read and compared with it: two scrapes that did
/// so at once would each show some of the other's, and their numbers would not be of one set.
struct ShownSoFar {
    rows: Rows,
    sources: Sources,
    books: BooksHigh,
    process_cpu: u64,
}

/// An exporter in the making: see [`Exporter::builder`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    supervisor: Supervisor,
    label_limit: usize,
}

impl Builder {
    /// How many labels of a kind (of requests, of background processes, ..) are shown apart, and how many series of
    /// each figure of the sources: 1,000 unless told otherwise, which is what the core keeps apart; at least 1. What
    /// comes later is summed into one whose label values are `other`. Which ones are apart stays the same from scrape to
    /// scrape. A name that a source had goes with it, and makes room.
    ///
    /// ```
    /// use logcontext::{ContextKind, Supervisor};
    /// use logcontext_metrics::{Exporter, Format};
    ///
    /// let service = Supervisor::new("presence");
    /// for label in ["GET /a", "GET /b", "GET /c"] {
    ///     service.context("GET-1").kind(ContextKind::Request).label(label).start().finish();
    /// }
    /// let text = Exporter::builder(&service).label_limit(1).build().render(Format::Prometheus);
    /// assert!(text.contains(r#"logcontext_requests_total{label="GET /a",outcome="ok"} 1"#));
    /// assert!(text.contains(r#"logcontext_requests_total{label="other",outcome="ok"} 2"#));
    /// ```
    pub fn label_limit(mut self, limit: usize) -> Self {
        self.label_limit = limit.max(1);
        self
    }

    /// The exporter.
    pub fn build(self) -> Exporter {
        let shown = ShownSoFar {
            rows: Rows::new(self.label_limit),
            sources: Sources::new(self.label_limit),
            books: BooksHigh::default(),
            process_cpu: 0,
        };
        let (supervisor, shown) = (self.supervisor, Mutex::new(shown));
        Exporter(Arc::new(Inner { supervisor, shown, capacity: AtomicUsize::new(0) }))
    }
}

impl Exporter {
    /// An exporter of what runs under this supervisor.
    pub fn new(supervisor: &Supervisor) -> Self {
        Self::builder(supervisor).build()
    }

    /// An exporter with settings of its own.
    pub fn builder(supervisor: &Supervisor) -> Builder {
        Builder { supervisor: supervisor.clone(), label_limit: LABEL_LIMIT }
    }

    /// All figures as they are now. It waits for nobody but another scrape of the same exporter, and takes about as
    /// long as walking along all live contexts does: milliseconds for tens of thousands.
    ///
    /// A source that panics, or that says something that is no figure, is left out; that is counted as
    /// `logcontext_metrics_source_faults_total` and logged, once for each source and fault.
    pub fn render(&self, format: Format) -> String {
        let scrape = Scrape::make(&self.0);
        let mut text = Text::new(format, self.0.capacity.load(Relaxed));
        scrape.write(&mut text);
        let text = text.finish();
        // With room for some more: growing would copy all of it.
        self.0.capacity.store(text.len() + text.len() / 16, Relaxed);
        text
    }

    /// Answers a scraper: in the format that it [accepts](Format::from_accept), and not to be kept by caches.
    ///
    /// ```
    /// use http::HeaderMap;
    /// use logcontext::Supervisor;
    /// use logcontext_metrics::Exporter;
    ///
    /// let exporter = Exporter::new(&Supervisor::new("presence"));
    /// let response = exporter.respond(&HeaderMap::new());
    /// assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    /// assert_eq!(response.headers()["cache-control"], "no-store");
    /// ```
    pub fn respond(&self, request: &HeaderMap) -> Response<String> {
        let format = Format::from_all(request.get_all(ACCEPT));
        let mut response = Response::new(self.render(format));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exporter").field(&self.0.supervisor).finish()
    }
}

/// What one scrape has found.
struct Scrape {
    rows: Vec<supervised::Row>,
    own: Own,
    process: Process,
    sources: Vec<sources::Shown>,
    faults: sources::Faults,
}

impl Scrape {
    fn make(exporter: &Inner) -> Self {
        // What may take long, or is other people's code, without the lock.
        let asked = lock(&exporter.shown).sources.list(&exporter.supervisor);
        let readings = asked.iter().map(sources::Asked::read).collect();
        let mut own = Own::read(&exporter.supervisor);
        let mut process = Process::read(own.process_cpu());

        let mut shown = lock(&exporter.shown);
        let sources = shown.sources.show(readings);
        let faults = shown.sources.faults();
        process.raise_to(&mut shown.process_cpu);
        own.raise_to(&mut shown.books);
        let rows = shown.rows.show(&exporter.supervisor.totals());
        drop(shown);
        // A source whose last handle is ours goes here, where no lock is held.
        drop(asked);
        Self { rows, own, process, sources, faults }
    }

    fn write(&self, text: &mut Text) {
        supervised::write(text, &self.rows);
        self.own.write(text);
        self.faults.write(text);
        self.process.write(text);
        sources::write(text, &self.sources);
    }
}

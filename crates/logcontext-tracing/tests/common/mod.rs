//! What the tests share: lines kept in memory, and a target that can be stopped.
#![allow(dead_code, unreachable_pub, reason = "each test binary takes what it needs")]

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use logcontext::{ContextKind, LogContext, Request};
use logcontext_tracing::{Format, LogLayer, LogWriter};
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

/// Longer than anything here takes, on the slowest machine.
pub const FOREVER: Duration = Duration::from_secs(60);

/// A writer that keeps what is written.
#[derive(Clone, Default)]
pub struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub fn lines(&self) -> Vec<String> {
        let text = self.text();
        assert!(text.is_empty() || text.ends_with('\n'), "an unfinished line: {text:?}");
        text.lines().map(str::to_owned).collect()
    }

    pub fn json(&self) -> Vec<Value> {
        self.lines().iter().map(|line| parse(line)).collect()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Parses a line; fails if an object in it has a key twice.
pub fn parse(line: &str) -> Value {
    assert!(!keys_are_double(line), "a key twice: {line}");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn keys_are_double(line: &str) -> bool {
    struct Keys;
    impl<'de> serde::de::Visitor<'de> for Keys {
        type Value = bool;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut seen = std::collections::HashSet::new();
            let mut double = false;
            while let Some((key, _)) = map.next_entry::<String, Value>()? {
                double |= !seen.insert(key);
            }
            Ok(double)
        }
    }
    let mut json = serde_json::Deserializer::from_str(line);
    serde::Deserializer::deserialize_map(&mut json, Keys).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Everything that `f` logs, in this format.
pub fn logged(format: impl Format, f: impl FnOnce()) -> Kept {
    let kept = Kept::default();
    let writer = {
        let kept = kept.clone();
        move || kept.clone()
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(LogLayer::new(format, writer)), f);
    kept
}

/// A request with everything.
pub fn request() -> LogContext {
    let request = Request::new("PUT", "/presence/alice")
        .id("7f3a")
        .client("127.0.0.1")
        .user_agent("curl/8")
        .protocol("HTTP/1.1")
        .trace_id("4bf92f3577b34da6a3ce929d0e0e4736");
    LogContext::builder("PUT-17")
        .kind(ContextKind::Request)
        .label("PUT /presence/{user}")
        .request(request)
        .start()
}

/// Gives a writer a record.
pub fn put(writer: &LogWriter, record: &str) {
    writer.make_writer().write_all(record.as_bytes()).unwrap();
}

/// A target that waits in `write` for as long as it is shut.
#[derive(Clone)]
pub struct Gate {
    state: Arc<(Mutex<GateState>, Condvar)>,
    pub kept: Kept,
}

struct GateState {
    shut: bool,
    waiting: bool,
}

impl Gate {
    pub fn shut() -> Self {
        let state = Mutex::new(GateState { shut: true, waiting: false });
        Self { state: Arc::new((state, Condvar::new())), kept: Kept::default() }
    }

    pub fn open(&self) {
        self.state.0.lock().unwrap().shut = false;
        self.state.1.notify_all();
    }

    /// Until the writer's thread stands before it.
    pub fn wait_for_writer(&self) {
        self.wait(|state| !state.waiting);
    }

    fn wait(&self, until: impl Fn(&GateState) -> bool) {
        let state = self.state.0.lock().unwrap();
        let waited = self.state.1.wait_timeout_while(state, FOREVER, |state| until(state)).unwrap();
        assert!(!waited.1.timed_out());
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.state.0.lock().unwrap().waiting = true;
        self.state.1.notify_all();
        self.wait(|state| state.shut);
        self.state.0.lock().unwrap().waiting = false;
        self.kept.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

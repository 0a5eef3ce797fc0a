//! A hub that a test sends to: takes what it is sent, or does not, as it is told; and knows what it was sent.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use presence::federation::HubSettings;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What it does with what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Takes it.
    Take,
    /// Answers so, and takes nothing.
    Answer(u16),
    /// Answers so, with that header.
    AnswerWith(u16, &'static str),
    /// Ends the connection without an answer.
    Cut,
    /// Takes it, and ends the connection without an answer.
    TakeAndCut,
    /// Never answers.
    Hang,
}

/// What a hub knows of a user: the revision, and the presence.
pub(crate) type Known = (i64, String);

#[derive(Default)]
pub(crate) struct Seen {
    /// So many requests have come.
    pub(crate) attempts: usize,
    /// The users and revisions of each transaction that was taken, in order.
    pub(crate) transactions: Vec<Vec<(String, i64)>>,
    pub(crate) known: BTreeMap<String, Known>,
    /// What was wrong.
    pub(crate) faults: Vec<String>,
    bodies: HashMap<String, String>,
    pub(crate) under_way: usize,
    /// Since the last transaction that was taken, another has come.
    pub(crate) has_next: bool,
    last_head: String,
}

struct Shared {
    seen: Mutex<Seen>,
    mode: Mutex<Mode>,
    /// What comes after so many transactions is not answered.
    allowed: watch::Sender<usize>,
    secret: String,
}

pub(crate) struct Hub {
    address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

impl Hub {
    #[expect(clippy::disallowed_methods, reason = "is no part of the service")]
    pub(crate) fn start(secret: &str) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            mode: Mutex::new(Mode::Take),
            allowed: watch::Sender::new(usize::MAX),
            secret: secret.to_owned(),
        });
        let hub = Arc::clone(&shared);
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(Arc::clone(&hub), stream));
            }
        });
        Self { address, shared, _runtime: runtime }
    }

    /// As others know it.
    pub(crate) fn settings(&self) -> HubSettings {
        HubSettings {
            url: format!("http://{}", self.address).parse().unwrap(),
            secret: self.shared.secret.parse().unwrap(),
            follows_all: false,
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Answers nothing from now on, or all that waits.
    pub(crate) fn hold(&self, held: bool) {
        self.allow(if held { 0 } else { usize::MAX });
    }

    /// Answers only until it has taken so many transactions.
    pub(crate) fn allow(&self, transactions: usize) {
        self.shared.allowed.send_replace(transactions);
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.shared.seen()
    }

    /// How many states each transaction had.
    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.seen().transactions.iter().map(Vec::len).collect()
    }

    /// What it knows of a user.
    pub(crate) fn knows(&self, user: &str) -> Option<Known> {
        self.seen().known.get(user).cloned()
    }

    pub(crate) fn last_head(&self) -> String {
        self.seen().last_head.clone()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let faults = std::mem::take(&mut self.seen().faults);
        assert!(faults.is_empty() || std::thread::panicking(), "{faults:?}");
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One after the other, until the connection ends.
async fn serve(hub: Arc<Shared>, mut stream: TcpStream) {
    while let Some((head, body)) = read(&mut stream).await {
        let under_way = UnderWay::new(&hub, &head);
        let answer = tokio::select! {
            answer = answer(&hub, &head, &body) => answer,
            // Who asked is gone.
            _ = stream.readable_end() => return,
        };
        // Before the answer: who has it may send the next.
        drop(under_way);
        let Some((status, header)) = answer else { return };
        let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
        let text = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n{header}\r\n{{}}");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn answer(hub: &Shared, head: &str, body: &str) -> Option<(u16, &'static str)> {
    let mut allowed = hub.allowed.subscribe();
    allowed.wait_for(|allowed| hub.seen().transactions.len() < *allowed).await.ok()?;
    let mode = *hub.mode.lock().unwrap();
    match mode {
        Mode::Take => hub.seen().take(&hub.secret, head, body),
        Mode::TakeAndCut => {
            hub.seen().take(&hub.secret, head, body);
            return None;
        }
        Mode::Answer(status) => return Some((status, "")),
        Mode::AnswerWith(status, header) => return Some((status, header)),
        Mode::Cut => return None,
        Mode::Hang => std::future::pending().await,
    }
    Some((200, ""))
}

impl Seen {
    fn take(&mut self, secret: &str, head: &str, body: &str) {
        let id = head.split(' ').nth(1).and_then(|path| path.strip_prefix("/_federation/send/"));
        let id = id.unwrap_or_default().to_owned();
        if !head.contains(&format!("authorization: Bearer {secret}\r\n")) || id.is_empty() {
            self.faults.push(format!("unexpected head {head:?}"));
        }
        if let Some(before) = self.bodies.get(&id) {
            if before != body {
                self.faults.push(format!("{id} was {before} and then {body}"));
            }
            return;
        }
        self.bodies.insert(id, body.to_owned());
        let json: Value = serde_json::from_str(body).unwrap_or_default();
        let mut taken = Vec::new();
        for state in json["states"].as_array().into_iter().flatten() {
            let user = state["user"].as_str().unwrap().to_owned();
            let new = (state["revision"].as_i64().unwrap(), state["presence"].as_str().unwrap().to_owned());
            taken.push((user.clone(), new.0));
            if self.known.get(&user).is_none_or(|known| known.0 < new.0) {
                self.known.insert(user, new);
            }
        }
        if taken.is_empty() || taken.len() > 50 {
            self.faults.push(format!("a transaction of {}", taken.len()));
        }
        let mut users: Vec<_> = taken.iter().map(|(user, _)| user).collect();
        users.sort();
        users.dedup();
        if users.len() != taken.len() {
            self.faults.push(format!("a user twice in {taken:?}"));
        }
        self.transactions.push(taken);
        self.has_next = false;
    }
}

/// Counts what is under way.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(hub: &'a Shared, head: &str) -> Self {
        let mut seen = hub.seen();
        seen.attempts += 1;
        seen.under_way += 1;
        seen.has_next = true;
        seen.last_head = head.to_owned();
        if seen.under_way > 1 {
            seen.faults.push("two transactions at once".to_owned());
        }
        Self(hub)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.seen().under_way -= 1;
    }
}

/// A head, in lower case but for the values, and a body.
async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut text = Vec::new();
    loop {
        if let Some(at) = text.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(text[..at + 2].to_vec()).ok()?;
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
            let end = at + 4 + length.parse::<usize>().ok()?;
            if text.len() >= end {
                return Some((head, String::from_utf8(text[at + 4..end].to_vec()).ok()?));
            }
        }
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&buffer[..read]);
    }
}

trait ReadableEnd {
    /// Completes when the other side has closed. It sends nothing while it waits for an answer.
    async fn readable_end(&mut self);
}

impl ReadableEnd for TcpStream {
    async fn readable_end(&mut self) {
        let _ = self.peek(&mut [0; 1]).await;
    }
}

//! Drives the service: clients, watchers, and a line a second on how it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use logcontext::{Background, FutureExt, Supervisor, background};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::client::{Client, Leave, ask_and_leave};
use super::interrupt::Interrupt;
use super::mix::{self, ARRIVE, Answer, Mix, Step, WATCH};
use super::progress::show_progress;
use super::tally::Tally;
use crate::user::UserId;

const USERS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi"];
/// Arrives, and is not heard of again: their presence times out.
const SILENT: &str = "zoe";
const WATCHERS: usize = 2;
/// Between two requests of a client.
const PAUSE: Duration = Duration::from_millis(2);

/// What to drive, and how.
pub(super) struct Driver {
    pub(super) address: SocketAddr,
    pub(super) clients: usize,
    pub(super) time: Duration,
    pub(super) tally: Arc<Tally>,
}

/// Everybody whose presence is set.
pub(super) fn users() -> impl Iterator<Item = UserId> {
    USERS.into_iter().chain([SILENT]).map(|user| user.parse().expect("these are names of users"))
}

/// What the watchers saw.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Events, by all watchers.
    pub(super) events: u64,
}

impl Driver {
    /// Drives the service, tells it to stop, and sees that it lets go of those who watch.
    pub(super) async fn drive(self, stop: oneshot::Sender<()>) -> anyhow::Result<Watched> {
        let supervisor = Supervisor::current();
        let demo = supervisor.context("demo").label("demo").start();
        let drive = async {
            self.arrive().await?;
            self.ask_for_each_kind().await;
            let watchers: Vec<_> = (0..WATCHERS).map(|n| self.start_watcher(n)).collect();
            self.run_clients().await?;
            let _ = stop.send(());
            let mut watched = Watched::default();
            for watcher in watchers {
                let seen = timeout(Duration::from_secs(20), watcher).await;
                watched.events += seen.context("a stream did not end with the service")???;
            }
            anyhow::Ok(watched)
        };
        let watched = drive.in_context(demo.clone()).await;
        let shutdown = supervisor.shutdown(Duration::from_secs(5)).in_context(demo.clone()).await;
        demo.finish();
        ensure!(shutdown.aborted.is_empty(), "clients did not end: {:?}", shutdown.aborted);
        watched
    }

    async fn arrive(&self) -> anyhow::Result<()> {
        let mut client = Client::new(self.address);
        for user in USERS.into_iter().chain([SILENT]) {
            let sent = Instant::now();
            self.tally.sent();
            let (status, _) = client.ask(&ARRIVE, user).await?;
            ensure!(status == 200, "{user} could not arrive: {status}");
            self.tally.answered(ARRIVE.label, status, sent.elapsed());
        }
        Ok(())
    }

    /// Each kind of request once, before the others come: however short the demo and slow the machine, the rare
    /// ones are among them.
    async fn ask_for_each_kind(&self) {
        let mut client = Client::new(self.address);
        for (step, user) in mix::each_kind().zip(USERS.into_iter().cycle()) {
            if let Answer::Status(expected) = step.answer {
                ask(&mut client, &self.tally, step, expected, user).await;
            }
        }
    }

    async fn run_clients(&self) -> anyhow::Result<()> {
        let clients: Vec<_> = (0..self.clients).map(|n| self.start_client(n)).collect();
        let mut interrupt = Interrupt::listen()?;
        let end = async {
            tokio::select! {
                () = sleep(self.time) => {}
                () = interrupt.heard() => {}
            }
            self.tally.end();
            for client in clients {
                client.await?;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = end => ended,
            () = show_progress(&self.tally) => Ok(()),
        }
    }

    /// Every third client leaves every request early.
    fn start_client(&self, n: usize) -> Background<()> {
        let (address, tally) = (self.address, Arc::clone(&self.tally));
        let mix = Mix::of_client(n, self.clients);
        if n % 3 == 2 {
            background::run("client that leaves", leave_early(address, tally, mix, n))
        } else {
            background::run("client", stay(address, tally, mix, n))
        }
    }

    fn start_watcher(&self, n: usize) -> Background<anyhow::Result<u64>> {
        let user = if n == 0 { SILENT } else { USERS[n] };
        background::run("watcher", watch(self.address, Arc::clone(&self.tally), user))
    }
}

async fn stay(address: SocketAddr, tally: Arc<Tally>, mut mix: Mix, n: usize) {
    let mut client = Client::new(address);
    for round in 0.. {
        if tally.is_over() {
            return;
        }
        let step = mix.next();
        let Answer::Status(expected) = step.answer else { continue };
        ask(&mut client, &tally, step, expected, USERS[(n + round) % USERS.len()]).await;
        sleep(PAUSE).await;
    }
}

/// Asks, and counts what comes of it.
async fn ask(client: &mut Client, tally: &Tally, step: &Step, expected: u16, user: &str) {
    let sent = Instant::now();
    tally.sent();
    match client.ask(step, user).await {
        Ok((status, _)) if status == expected => tally.answered(step.label, status, sent.elapsed()),
        Ok((status, body)) => {
            let body = String::from_utf8_lossy(&body);
            tally.odd(format!("{} {}: expected {expected}, got {status} {body}", step.method(), step.path));
        }
        Err(error) => tally.odd(format!("{} {}: {error:#}", step.method(), step.path)),
    }
}

async fn leave_early(address: SocketAddr, tally: Arc<Tally>, mut mix: Mix, n: usize) {
    for round in 0.. {
        if tally.is_over() {
            return;
        }
        let (step, user) = (mix.next(), USERS[(n + round) % USERS.len()]);
        tally.sent();
        match ask_and_leave(address, step, user, Leave::in_turn(round)).await {
            Ok(()) => tally.left(),
            Err(error) => tally.odd(format!("{} {}: {error:#}", step.method(), step.path)),
        }
        sleep(PAUSE).await;
    }
}

/// Follows somebody's presence to the end, which is the service's. Answers how many events there were.
async fn watch(address: SocketAddr, tally: Arc<Tally>, user: &'static str) -> anyhow::Result<u64> {
    let sent = Instant::now();
    tally.sent();
    let mut stream = Client::new(address).send(&WATCH, user).await?.into_body();
    let mut events = 0;
    while let Some(frame) = stream.frame().await {
        if frame?.data_ref().is_some_and(|data| data.starts_with(b"event:")) {
            if events == 0 {
                tally.answered(WATCH.label, 200, sent.elapsed());
            }
            events += 1;
        }
    }
    ensure!(events > 0, "nothing was heard of {user}");
    Ok(events)
}

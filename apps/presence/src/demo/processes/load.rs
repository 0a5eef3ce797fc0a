//! [`Load`]: clients that change presences, and a process that is killed meanwhile.

use std::io::{Write as _, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::future::join_all;
use logcontext::background;
use tokio::time::sleep;

use super::changes::{self, Changed, Counts};
use super::hubs::Hubs;
use super::progress;
use super::report::{Changes, Killed, Report};
use crate::demo::interrupt::Interrupt;
use crate::demo::options::Demo;

/// Of each client.
const USERS: usize = 5;
/// What is changed, and who is killed.
pub(super) struct Load<'a> {
    pub(super) options: &'a Demo,
    /// What sets its users apart from those of other demos.
    pub(super) run: &'a str,
    pub(super) choice: &'a mut fastrand::Rng,
}

impl Load<'_> {
    /// Changes presences, and kills one of those that see to it. Answers what was acknowledged.
    pub(super) async fn run(
        self,
        hubs: &mut Hubs,
        interrupt: &mut Interrupt,
        report: &mut Report,
    ) -> anyhow::Result<Vec<Changed>> {
        let Self { options, run, choice } = self;
        let time = Duration::from_secs(options.seconds);
        let (counts, began) = (Arc::<Counts>::default(), Instant::now());
        let mut clients = Vec::new();
        for n in 0..usize::from(options.clients) {
            let users = (0..USERS).map(|m| format!("demo-{run}-{n}-{m}").parse().map(Changed::new));
            let users = users.collect::<Result<_, _>>()?;
            let changing = changes::change(hubs.api(), users, Arc::clone(&counts), n);
            clients.push(background::run("client", changing));
        }
        let killing = async {
            watch_for(hubs, time / 2).await?;
            report.killed = Some(kill(hubs, choice, began).await?);
            watch_for(hubs, time.saturating_sub(began.elapsed())).await
        };
        let survived = tokio::select! {
            survived = killing => survived,
            () = progress::show(&counts) => Ok(()),
            () = interrupt.heard() => Ok(()),
        };
        // Also where something has gone wrong: they are not left behind.
        counts.end();
        report.time = began.elapsed();
        let mut changed = Vec::new();
        for client in join_all(clients).await {
            changed.extend(client.context("a client was lost")??);
        }
        crate::demo::progress::clear_progress();
        report.changes = counted(&counts);
        survived.map(|()| changed)
    }
}

/// Lets it run for so long, and looks whether all processes do.
async fn watch_for(hubs: &mut Hubs, time: Duration) -> anyhow::Result<()> {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        hubs.look()?;
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Kills one of the first hub's processes, and starts it again.
async fn kill(hubs: &mut Hubs, choice: &mut fastrand::Rng, began: Instant) -> anyhow::Result<Killed> {
    let mut members = hubs.of_one();
    let member = members.swap_remove(choice.usize(..members.len()));
    let (name, after) = (member.name, began.elapsed());
    member.end_by("KILL").await?;
    let killed = Instant::now();
    crate::demo::progress::clear_progress();
    let _ = writeln!(stderr(), "killed {name} by SIGKILL, starting it again");
    member.start()?;
    member.answers().await?;
    Ok(Killed { name, after, away: killed.elapsed() })
}

fn counted(counts: &Counts) -> Changes {
    let read = |counter: &AtomicU64| counter.load(Relaxed);
    Changes {
        acknowledged: read(&counts.acknowledged),
        tried_again: read(&counts.tried_again),
        not_acknowledged: read(&counts.not_acknowledged),
        lost: 0,
    }
}

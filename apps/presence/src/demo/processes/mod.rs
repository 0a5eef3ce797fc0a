//! `presence demo --processes`: two hubs as processes, one of which is killed half-way; and whether anything was lost.

mod broker;
mod changes;
mod config;
mod hubs;
mod member;
mod ports;
mod progress;
mod report;
mod verify;
mod wait;
mod watched;

use std::io::{Write as _, stderr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use futures_util::future::join_all;
use logcontext::{FutureExt, LogContext, Supervisor, background};
use logcontext_service::config::DatabaseUrl;
use tokio::time::sleep;

use super::interrupt::Interrupt;
use super::options::Demo;
use crate::status;
use broker::Broker;
use changes::{Changed, Counts};
use hubs::Hubs;
use report::{Changes, Killed, Report};
use verify::Databases;

/// Of each client.
const USERS: usize = 5;
/// How long the processes may take to tell of themselves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs it.
///
/// # Errors
/// If the processes or the clients cannot start.
pub(super) fn demo(options: &Demo) -> anyhow::Result<ExitCode> {
    let folder = tempfile::Builder::new().prefix("presence-demo-").tempdir();
    let folder = folder.context("cannot make a temporary folder")?;
    let logging = super::start_logging(&folder.path().join("demo.log"))?;
    let runtime = super::runtime()?;
    let context = LogContext::new("demo");
    let mut report = runtime.block_on(run(options, folder.path()).in_context(context.clone()))?;
    context.finish();
    logging.flush();
    if !report.problems.is_empty() {
        report.kept = Some(folder.keep());
    }
    super::show(&report, options.json)?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run(options: &Demo, folder: &Path) -> anyhow::Result<Report> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u32(..).into());
    // What is random in the demo itself, and what differs from run to run all the same: names and ports.
    let (mut choice, mut random) = (fastrand::Rng::with_seed(seed), fastrand::Rng::new());
    let mut interrupt = Interrupt::listen()?;
    let starting = async {
        let broker = Broker::start(options.bus.as_ref(), folder, &mut random).await?;
        let run: String = std::iter::repeat_with(|| random.lowercase()).take(8).collect();
        let one = options.database.clone().map_or_else(|| hubs::sqlite(folder, hubs::ONE), Ok)?;
        let hubs = Hubs::start(&broker.url, &one, &run, folder, &mut random).await?;
        anyhow::Ok((broker, run, one, hubs))
    };
    let (broker, run, one, mut hubs) = tokio::select! {
        started = starting => started?,
        () = interrupt.heard() => return Err(anyhow!("interrupted before all processes had started")),
    };
    announce(options, &broker, &hubs);
    let mut report = Report {
        broker: broker.shown.clone(),
        seed,
        clients: options.clients.into(),
        time: Duration::ZERO,
        killed: None,
        changes: Changes::default(),
        copies: None,
        status: None,
        problems: Vec::new(),
        kept: None,
    };
    let ended = async {
        // An interrupt ends the changes before their time; the next one ends all.
        let load = Load { options, run: &run, choice: &mut choice };
        let changed = load.run(&mut hubs, &mut interrupt, &mut report).await?;
        tokio::select! {
            looked = look(&changed, &one, folder, &mut hubs, &mut report) => looked,
            () = interrupt.heard() => Err(anyhow!("interrupted before all was looked at")),
        }
    };
    let ended = ended.await;
    report.problems.extend(ended.err().map(|error| format!("{error:#}")));
    report.problems.extend(hubs.end().await);
    drop(broker);
    Ok(report)
}

fn announce(options: &Demo, broker: &Broker, hubs: &Hubs) {
    let mut text =
        format!("broker {}, {} clients for {} s\n", broker.shown, options.clients, options.seconds);
    for member in &hubs.members {
        let (name, role) = (member.name, member.role.as_str());
        text.push_str(&format!(
            "{name:<9} serve --role {role:<7} http://{}, telling of itself on {}\n",
            member.address, member.admin
        ));
    }
    let _ = stderr().write_all(text.as_bytes());
}

/// What is changed, and who is killed.
struct Load<'a> {
    options: &'a Demo,
    run: &'a str,
    choice: &'a mut fastrand::Rng,
}

impl Load<'_> {
    /// Changes presences, and kills one of those that see to it. Answers what was acknowledged.
    async fn run(
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

/// Looks what has become of it all.
async fn look(
    changed: &[Changed],
    one: &DatabaseUrl,
    folder: &Path,
    hubs: &mut Hubs,
    report: &mut Report,
) -> anyhow::Result<()> {
    let users: Vec<_> = changed.iter().map(|changed| changed.user.clone()).collect();
    let databases = Databases::open(one, &hubs::sqlite(folder, hubs::TWO)?).await?;
    let looking = async {
        report.copies = Some(databases.copied(&users).await?);
        report.changes.lost = databases.lost(changed).await?;
        anyhow::Ok(())
    };
    let looked = looking.await;
    databases.close().await;
    looked?;
    hubs.look()?;
    report.status = Some(status::look(&hubs.addresses(), None, PATIENCE).await);
    judge(report);
    Ok(())
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

/// What of it is a problem.
fn judge(report: &mut Report) {
    let problems = &mut report.problems;
    match &report.changes {
        Changes { lost: 0, acknowledged: 1.., .. } => {}
        Changes { lost: 0, .. } => problems.push("no change was acknowledged".to_owned()),
        Changes { lost, .. } => problems.push(format!("{lost} changes were acknowledged and are lost")),
    }
    if let Some(copied) = report.copies.as_ref().filter(|copied| copied.different > 0) {
        problems.push(format!("{} users are not in hub two as they are in hub one", copied.different));
    }
    let raised = crate::demo::report::diagnostics(&[&Supervisor::global()]);
    problems.extend(raised.iter().map(|kind| format!("diagnostic {kind}")));
    let Some(overview) = &report.status else { return };
    problems.extend(overview.no_sums.clone());
    for (address, process) in overview.answered() {
        let raised =
            process.diagnostics.iter().map(|(kind, n)| (&**kind, *n)).chain([("panic", process.panics)]);
        let raised = raised.filter(|(_, n)| *n > 0);
        problems.extend(raised.map(|(kind, n)| format!("{kind} x {n} in the process at {address}")));
    }
}

//! `presence demo --processes`: two hubs as processes, one of which is killed half-way; and whether anything was lost.

mod broker;
mod changes;
mod config;
mod hubs;
mod load;
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
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_service::config::DatabaseUrl;

use super::interrupt::Interrupt;
use super::options::Demo;
use crate::status;
use broker::Broker;
use changes::Changed;
use hubs::Hubs;
use load::Load;
use report::{Changes, Report};
use verify::Databases;

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

//! `presence demo`: two hubs, the first under load, and where the CPU went.

mod access_lines;
mod balance;
mod client;
mod copies;
mod databases;
mod driver;
mod interrupt;
mod mix;
mod options;
#[cfg(unix)]
mod processes;
mod progress;
mod report;
mod routes;
mod second;
mod tally;
mod text;
mod together;

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use logcontext::{FutureExt, Supervisor};
use logcontext_service::config::{DatabaseUrl, PositiveTime, Secret};
use logcontext_service::{ListenAddress, ListenerSettings, Service, Settings};
use serde::Serialize;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::federation::FederationSettings;
use crate::server::Presence;
use crate::settings::PresenceSettings;
use access_lines::access_lines;
use databases::Databases;
use driver::{Driver, Watched};
pub use options::Demo;
use report::{Material, Report};
use second::SecondHub;
use tally::Tally;

/// Runs the service on a free port, drives it, and shows how that went.
///
/// # Errors
/// If the service or the clients cannot start.
pub fn demo(options: &Demo) -> anyhow::Result<ExitCode> {
    if options.processes { several(options) } else { alone(options) }
}

#[cfg(unix)]
fn several(options: &Demo) -> anyhow::Result<ExitCode> {
    processes::demo(options)
}

#[cfg(not(unix))]
fn several(_: &Demo) -> anyhow::Result<ExitCode> {
    bail!("expected a Unix system for --processes: one of them is killed by a signal")
}

fn alone(options: &Demo) -> anyhow::Result<ExitCode> {
    let log = std::env::temp_dir().join(format!("presence-demo-{}.log", std::process::id()));
    let logging = start_logging(&log)?;
    let databases = Databases::new(options.database.as_ref())?;
    let runtime = runtime()?;
    // One each, so that their figures stay apart; the log is the default one's.
    let [presence, second, clients] = ["presence", "presence two", "demo"].map(Supervisor::new);
    let (stop, stopped) = oneshot::channel();

    let secret: Secret =
        std::iter::repeat_with(fastrand::alphanumeric).take(32).collect::<String>().parse()?;
    let (service, second_service) = runtime.block_on(async {
        let (two, address) = second::start(&second, databases.two.clone(), &secret).await?;
        let federation = second::federation(second::ONE, second::TWO, address, &secret, true)?;
        anyhow::Ok((start(&presence, databases.one.clone(), federation).await?, two))
    })?;
    let Some(&ListenAddress::Tcp(address)) = service.addresses().next() else { bail!("it listens nowhere") };
    announce(options, address, &log);
    let started = Instant::now();
    let tally = Arc::<Tally>::default();
    let time = Duration::from_secs(options.seconds);
    let driver = Driver { address, clients: options.clients.into(), time, tally: Arc::clone(&tally) };
    let driver = start_driver(driver, clients.clone(), stop)?;

    // Ends when the driver says so; or when it is gone, whatever became of it.
    let (ended, second_hub, time, shutdown) = runtime.block_on(async {
        let (stop_second, second_stopped) = oneshot::channel::<()>();
        let (one, two) = (Arc::clone(service.datastore()), Arc::clone(second_service.datastore()));
        let looking = clients.context("compare").start();
        let (mut told, mut ending, mut seen) = (started, started, None);
        let stop = async {
            drop(stopped.await);
            told = Instant::now();
            let users: Vec<_> = driver::users().collect();
            seen = Some(SecondHub::look(&one, &two, &users).in_context(looking.clone()).await);
            looking.finish();
            drop((one, two));
            ending = Instant::now();
        };
        let first = async {
            let ended = service.run(stop).await;
            drop(stop_second);
            ended
        };
        let (first, second) = tokio::join!(first, second_service.run(async { drop(second_stopped.await) }));
        ((first, second), seen, told - started, ending.elapsed())
    });
    let driven = driver.join().map_err(|_| anyhow!("the driver panicked"))?;
    progress::clear_progress();
    let mut problems = Vec::new();
    let watched = driven.unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        Watched::default()
    });
    let second_hub = second_hub.context("hub two was not looked at").flatten().unwrap_or_else(|error| {
        problems.push(format!("{error:#}"));
        SecondHub::default()
    });
    logging.flush();
    match logging.writer().dropped() {
        0 => {}
        dropped => problems.push(format!("{dropped} log records dropped")),
    }

    let report = Report::new(Material {
        service: &presence,
        clients: &clients,
        second: &second,
        second_hub,
        second_stopped: &ended.1?,
        number_of_clients: options.clients.into(),
        tally: &tally,
        watched,
        stopped: &ended.0?,
        access_lines: access_lines(&log),
        log,
        time,
        shutdown,
        problems,
    });
    show(&report, options.json)?;
    Ok(if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn start(
    supervisor: &Supervisor,
    database: DatabaseUrl,
    federation: FederationSettings,
) -> anyhow::Result<Service<Presence>> {
    let mut settings = Settings::<Presence>::default();
    settings.service.listeners = vec![ListenerSettings::new(SocketAddr::from(([127, 0, 0, 1], 0)).into())];
    settings.database.url = database;
    // Soon enough to be seen.
    settings.server = PresenceSettings {
        unavailable_after: PositiveTime::from_millis(300),
        offline_after: PositiveTime::from_millis(600),
        time_out_every: PositiveTime::from_millis(100),
        history_retention: PositiveTime::from_secs(3),
        prune_every: PositiveTime::from_millis(500),
        federation,
        ..settings.server
    };
    let startup = supervisor.context("startup").start();
    let service = Service::start(settings).in_context(startup.clone()).await;
    startup.finish();
    Ok(service?.with_routes(routes::routes()))
}

/// A runtime that tells on whatever leaves its context behind on a worker.
fn runtime() -> anyhow::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.enable_all().on_thread_park(logcontext::expect_sentinel);
    builder.build().context("cannot start the runtime")
}

/// The clients have a thread, a runtime and a supervisor of their own: what they cost is not the service's, and
/// they do not wait for its workers.
fn start_driver(
    driver: Driver,
    supervisor: Supervisor,
    stop: oneshot::Sender<()>,
) -> anyhow::Result<JoinHandle<anyhow::Result<Watched>>> {
    let drive = move || {
        supervisor.adopt_thread();
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().on_thread_park(logcontext::expect_sentinel);
        builder.build()?.block_on(driver.drive(stop))
    };
    #[expect(clippy::disallowed_methods, reason = "starts in the sentinel on purpose")]
    std::thread::Builder::new().name("demo".to_owned()).spawn(drive).context("cannot start a thread")
}

fn start_logging(path: &Path) -> anyhow::Result<logcontext_tracing::LogGuard> {
    let file =
        std::fs::File::create_new(path).with_context(|| format!("cannot write to {}", path.display()))?;
    Ok(logcontext_tracing::builder().text().filter("info")?.writer(file).init()?)
}

fn announce(options: &Demo, address: SocketAddr, log: &Path) {
    let _ = writeln!(
        stderr(),
        "presence on http://{address}, {} clients for {} s, a third of them leaves early; log: {}",
        options.clients,
        options.seconds,
        log.display(),
    );
}

fn show(report: &(impl Display + Serialize), json: bool) -> anyhow::Result<()> {
    let text = if json { format!("{}\n", serde_json::to_string(report)?) } else { report.to_string() };
    let mut out = stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write the result")
}

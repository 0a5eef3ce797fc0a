//! A server's life as a process: from its start to its exit code.

use std::io::{self, Write as _};
use std::path::Path;

use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_tracing::{LogGuard, LogWriter};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::exit::Exit;
use super::signals::Signals;
use super::systemd;
use crate::daemon::PidFile;
#[cfg(unix)]
use crate::daemon::{self, Report, Side};
use crate::error::one_line;
use crate::server::Server;
use crate::service::{ListenerTls, Service, Settings};
use crate::settings::{LogDestination, LogFormat, LogSettings, ServiceSettings};

/// What is heard of a server's start: by the terminal, if there is still one.
enum Start {
    Here,
    #[cfg(unix)]
    Daemon(Report),
}

impl Start {
    fn failed(self, error: &str, exit: Exit) -> Exit {
        match self {
            Self::Here => complain(error),
            #[cfg(unix)]
            Self::Daemon(report) => report.failed(error, exit.number()),
        }
        exit
    }

    /// Somebody has told it to end: no error, but for who waits for the daemon.
    fn given_up(self, why: &str, exit: Exit) -> Exit {
        match self {
            Self::Here => {}
            #[cfg(unix)]
            Self::Daemon(report) => report.failed(why, Exit::Failed.number()),
        }
        exit
    }

    /// # Errors
    /// If `/dev/null` cannot be opened.
    fn done(self) -> io::Result<()> {
        match self {
            Self::Here => Ok(()),
            #[cfg(unix)]
            Self::Daemon(report) => report.started(),
        }
    }
}

/// To whoever has started this.
pub(super) fn complain(error: &str) {
    let _ = writeln!(io::stderr(), "error: {error}");
}

/// Runs the server until it is told to end. There must be one thread only, if it is to become a daemon.
pub(super) fn live<S: Server>(settings: Settings<S>, daemonize: bool) -> Exit {
    let pid_file = match lock(&settings.service) {
        Ok(file) => file,
        Err(error) => return Start::Here.failed(&error, Exit::Failed),
    };
    if !daemonize {
        return serve::<S>(settings, pid_file, Start::Here);
    }
    become_daemon::<S>(settings, pid_file)
}

#[cfg(unix)]
fn become_daemon<S: Server>(settings: Settings<S>, pid_file: Option<PidFile>) -> Exit {
    if !matches!(settings.service.log.target, LogDestination::File(_)) {
        let error = format!(
            "log.target: expected the path of a file, as a daemon has no {}",
            settings.service.log.target
        );
        return Start::Here.failed(&error, Exit::Misconfigured);
    }
    match daemon::daemonize() {
        Ok(Side::Daemon(report)) => serve::<S>(settings, pid_file, Start::Daemon(report)),
        Ok(Side::Parent(waiting)) => {
            if let Some(file) = pid_file {
                file.hand_on();
            }
            match waiting.wait() {
                Ok(()) => Exit::Clean,
                Err((error, code)) => {
                    complain(&error);
                    Exit::Reported(code)
                }
            }
        }
        Err(error) => Start::Here.failed(&format!("cannot become a daemon: {error}"), Exit::Failed),
    }
}

#[cfg(not(unix))]
fn become_daemon<S: Server>(_: Settings<S>, _: Option<PidFile>) -> Exit {
    Start::Here.failed("expected a Unix system for --daemonize", Exit::Misconfigured)
}

fn lock(settings: &ServiceSettings) -> Result<Option<PidFile>, String> {
    let Some(path) = &settings.pid_file else { return Ok(None) };
    PidFile::lock(path).map(Some).map_err(|error| cannot_have(path, &error))
}

fn cannot_have(path: &Path, error: &io::Error) -> String {
    one_line_of(&format!("cannot have the pid file {}: {error}", path.display()))
}

fn one_line_of(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// From here on the process is the server's.
fn serve<S: Server>(settings: Settings<S>, mut pid_file: Option<PidFile>, start: Start) -> Exit {
    if let (Some(file), Some(path)) = (&mut pid_file, &settings.service.pid_file)
        && let Err(error) = file.write()
    {
        return start.failed(&cannot_have(path, &error), Exit::Failed);
    }
    // Ends after the runtime, so that all that was logged there is written; and before the pid file is gone.
    let log = match start_log(&settings.service.log) {
        Ok(log) => log,
        Err((error, exit)) => return start.failed(&error, exit),
    };
    let runtime = match runtime(&settings.service) {
        Ok(runtime) => runtime,
        Err(error) => return start.failed(&format!("cannot start the runtime: {error}"), Exit::Failed),
    };
    let exit = runtime.block_on(run::<S>(settings, start, log.writer().clone()));
    // Blocking work that did not end by the deadline is not waited for.
    runtime.shutdown_background();
    drop(log);
    drop(pid_file);
    exit
}

fn start_log(settings: &LogSettings) -> Result<LogGuard, (String, Exit)> {
    let log = logcontext_tracing::builder().filter(&settings.filter);
    let log = log.map_err(|error| (format!("log.filter: {}", one_line(&error)), Exit::Misconfigured))?;
    let log = match settings.format {
        LogFormat::Text => log.text(),
        LogFormat::Json => log.json(),
    };
    log.target(settings.target.target()).init().map_err(|error| (one_line(&error), Exit::Failed))
}

/// One that tells on whatever leaves its context behind on a worker.
fn runtime(settings: &ServiceSettings) -> io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.enable_all().on_thread_park(logcontext::expect_sentinel);
    if let Some(workers) = settings.runtime.workers {
        builder.worker_threads(workers.get());
    }
    builder.build()
}

async fn run<S: Server>(settings: Settings<S>, start: Start, log: LogWriter) -> Exit {
    let supervisor = Supervisor::global();
    let startup = supervisor.context("startup").start();
    let deadline = settings.service.shutdown.deadline.get();
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return start.failed(&format!("cannot listen to signals: {error}"), Exit::Failed),
    };
    let reload = |tls: &[ListenerTls]| {
        match log.reopen() {
            Ok(()) => tracing::info!("log opened again"),
            Err(error) => tracing::error!(%error, "cannot open the log again; going on with the old one"),
        }
        tls.iter().for_each(ListenerTls::reload);
    };
    let started = {
        let starting = Service::<S>::start(settings).in_context(startup.clone());
        tokio::select! {
            service = starting => Ok(service),
            signal = signals.next_to_end(|| startup.scope(|| reload(&[]))) => Err(signal),
        }
    };
    let service = match started {
        Ok(Ok(service)) => service,
        Ok(Err(error)) => {
            let error = one_line(&error);
            startup.scope(|| tracing::error!(error, "cannot start"));
            let ending = end_early(&supervisor, startup, deadline, Exit::Failed);
            let exit = or_cut_short(ending, &mut signals).await;
            return start.failed(&error, exit);
        }
        Err(signal) => {
            startup.scope(|| tracing::info!(signal = signal.name, "told to end before it had started"));
            let ending = end_early(&supervisor, startup, deadline, Exit::Clean);
            let exit = or_cut_short(ending, &mut signals).await;
            return start.given_up(&format!("{} before the server had started", signal.name), exit);
        }
    };
    if let Err(error) = startup.scope(|| start.done()) {
        startup.scope(|| tracing::warn!(%error, "cannot let go of the terminal"));
    }
    startup.scope(|| systemd::ready(&status(&service)));
    startup.finish();

    let tls = service.tls();
    let (stop, stopped) = oneshot::channel();
    let signal = supervisor.context("signal").start();
    let listening = async {
        let first = signals.next_to_end(|| reload(&tls)).await;
        tracing::info!(signal = first.name, "shutting down; a second signal cuts that short");
        systemd::stopping();
        // Nobody listens any more if the service has ended by itself.
        let _ = stop.send(());
        let second = signals.next_to_end(|| reload(&tls)).await;
        tracing::warn!(signal = second.name, "shutdown cut short");
        second
    };
    tokio::select! {
        ended = service.run(async { drop(stopped.await) }) => match ended {
            Ok(stopped) => match &stopped.asked {
                Some(reason) => {
                    complain(&one_line_of(reason));
                    Exit::Failed
                }
                None if stopped.is_clean() => Exit::Clean,
                None => Exit::Unclean,
            },
            Err(error) => {
                complain(&one_line(&error));
                Exit::Failed
            }
        },
        second = listening.in_context(signal) => Exit::CutShort(second.number),
    }
}

/// Of a start that has failed, or was given up: one more signal is not waited out either.
async fn or_cut_short(ending: impl Future<Output = Exit>, signals: &mut Signals) -> Exit {
    tokio::select! {
        exit = ending => exit,
        signal = signals.next_to_end(|| {}) => Exit::CutShort(signal.number),
    }
}

/// What the start has put into the background is waited for.
async fn end_early(
    supervisor: &Supervisor,
    startup: LogContext,
    deadline: std::time::Duration,
    exit: Exit,
) -> Exit {
    let shutdown = supervisor.shutdown(deadline).in_context(startup.clone()).await;
    startup.finish();
    if shutdown.aborted.is_empty() { exit } else { Exit::Unclean }
}

fn status<S: Server>(service: &Service<S>) -> String {
    let addresses: Vec<_> = service.addresses().map(ToString::to_string).collect();
    format!("listening on {}", addresses.join(", "))
}

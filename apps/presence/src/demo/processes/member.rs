//! [`Member`]: one process of a hub: its configuration, its log, its addresses, and how it is started and ended.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::wait::until;
use super::watched::Watched;
use crate::role::Role;
use crate::status::{self, ProcessAddress};

/// How long one may take to answer after its start, and to be gone after its end.
const PATIENCE: Duration = Duration::from_secs(25);

/// A process that may run, and may be killed and started again.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// Where users find it, if it answers them.
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
    folder: PathBuf,
    process: Option<Watched>,
}

impl Member {
    pub(super) fn new(name: &'static str, role: Role, [port, admin]: [u16; 2], folder: &Path) -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self { name, role, address: at(port), admin: at(admin), folder: folder.to_owned(), process: None }
    }

    /// Starts it by this configuration, and does not wait until it answers.
    ///
    /// # Errors
    /// If that fails.
    pub(super) fn start_with(&mut self, configuration: &str) -> anyhow::Result<()> {
        let file = self.file("toml");
        std::fs::write(&file, configuration).with_context(|| format!("cannot write {}", file.display()))?;
        self.start()
    }

    /// The same again.
    ///
    /// # Errors
    /// If that fails.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let program = std::env::current_exe().context("cannot tell where this program is")?;
        let log = File::options().create(true).append(true).open(self.log());
        let log = log.with_context(|| format!("cannot write {}", self.log().display()))?;
        let command = [program.into_os_string(), "serve".into(), "--config".into(), self.file("toml").into()];
        let process = Watched::start(&command, &self.folder, log);
        self.process = Some(process.with_context(|| format!("cannot start {}", self.name))?);
        Ok(())
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// If it ends instead, or takes too long.
    pub(super) async fn answers(&mut self) -> anyhow::Result<()> {
        let admin = self.status_address();
        let answered = until(PATIENCE, async || {
            if self.ended()?.is_some() {
                bail!("{} could not start: {}", self.name, self.last_lines());
            }
            let overview = status::look(std::slice::from_ref(&admin), None, Duration::from_secs(1)).await;
            Ok(overview.is_complete().then_some(()))
        });
        let answered = answered.await?;
        answered.with_context(|| format!("{} does not answer: {}", self.name, self.last_lines()))
    }

    /// How it has ended, if it was started and has.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        process.ended().with_context(|| format!("cannot tell whether {} runs", self.name))
    }

    /// Sends it a signal, and waits for its end.
    ///
    /// # Errors
    /// If it does not end.
    pub(super) async fn end_by(&mut self, signal: &str) -> anyhow::Result<ExitStatus> {
        let name = self.name;
        let process = self.process.as_mut().with_context(|| format!("{name} does not run"))?;
        // Where it is gone already, so is the pipe's other end: then its status is there.
        let _ = process.signal(signal);
        let ended = until(PATIENCE, async || Ok(process.ended()?)).await?;
        let ended = ended.with_context(|| format!("{name} does not end by SIG{signal}"))?;
        self.process = None;
        Ok(ended)
    }

    pub(super) fn status_address(&self) -> ProcessAddress {
        ProcessAddress::Tcp(self.admin.to_string())
    }

    fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }

    fn log(&self) -> PathBuf {
        self.file("log")
    }

    pub(super) fn last_lines(&self) -> String {
        last_lines(&self.log())
    }
}

/// The end of a log, on one line.
pub(super) fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().rev().take(3).map(crate::show::plain).collect();
    if lines.is_empty() {
        "nothing in its log".to_owned()
    } else {
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

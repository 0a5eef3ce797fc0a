//! What the demo of several processes has to show.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::demo::report::seconds;
use crate::show::{count, time};
use crate::status::{self, Overview};

/// All that there is to show. Times are seconds in JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where the processes' bus was.
    pub(super) broker: String,
    pub(super) seed: u64,
    pub(super) clients: usize,
    #[serde(serialize_with = "seconds")]
    pub(super) time: Duration,
    pub(super) killed: Option<Killed>,
    pub(super) changes: Changes,
    pub(super) copies: Option<Copied>,
    /// Of all processes, before they were told to end.
    pub(super) status: Option<Overview>,
    /// What went wrong; the demo fails if anything did.
    pub(super) problems: Vec<String>,
    /// Logs and databases, if anything went wrong.
    pub(super) kept: Option<PathBuf>,
}

/// The process that was killed.
#[derive(Debug, Serialize)]
pub(super) struct Killed {
    pub(super) name: &'static str,
    #[serde(serialize_with = "seconds")]
    pub(super) after: Duration,
    /// From its end until it answered again.
    #[serde(serialize_with = "seconds")]
    pub(super) away: Duration,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Changes {
    pub(super) acknowledged: u64,
    pub(super) tried_again: u64,
    pub(super) not_acknowledged: u64,
    /// Acknowledged, and not in the first hub's database.
    pub(super) lost: u64,
}

/// What the second hub has of it.
#[derive(Debug, Serialize)]
pub(super) struct Copied {
    pub(super) users: usize,
    /// Whose latest state is not the first hub's.
    pub(super) different: usize,
    /// From the last change until there was no difference.
    #[serde(serialize_with = "seconds")]
    pub(super) settled: Duration,
    pub(super) transactions: u64,
    /// In them, those that were news.
    pub(super) states: u64,
    pub(super) stale: u64,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(overview) = &self.status {
            writeln!(
                f,
                "presence status, before they were told to end:\n\n{}",
                status::as_text(overview, 15)
            )?;
        }
        if let Some(Killed { name, after, away }) = &self.killed {
            writeln!(
                f,
                "killed    {name} by SIGKILL after {}; it answered again {} later (--seed {})",
                time(*after),
                time(*away),
                self.seed
            )?;
        }
        let Changes { acknowledged, tried_again, not_acknowledged, lost } = &self.changes;
        writeln!(
            f,
            "changes   {} acknowledged, {} lost; {} tries failed, {} changes were given up",
            count(*acknowledged),
            count(*lost),
            count(*tried_again),
            count(*not_acknowledged)
        )?;
        if let Some(copied) = &self.copies {
            writeln!(
                f,
                "hub two   {} of {} users as in hub one, {} after the last change",
                count((copied.users - copied.different) as u64),
                count(copied.users as u64),
                time(copied.settled)
            )?;
            writeln!(
                f,
                "          {} transactions with {} newer states and {} older ones",
                count(copied.transactions),
                count(copied.states),
                count(copied.stale)
            )?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM   {problem}")?;
        }
        if let Some(folder) = &self.kept {
            writeln!(f, "kept      logs and databases in {}", folder.display())?;
        }
        let how = if self.problems.is_empty() { "as they should" } else { "with problems" };
        writeln!(f, "{} clients for {}, on {}; all ended {how}", self.clients, time(self.time), self.broker)
    }
}

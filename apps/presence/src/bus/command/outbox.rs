//! `presence bus outbox`.

use anyhow::{Context as _, bail};
use clap::Subcommand;
use humantime::format_rfc3339_seconds;
use logcontext_bus::Outbox;
use logcontext_db::Database;

use super::END;
use super::table::table;
use crate::settings::DatabaseSettings;

/// So many are looked at.
const MOST: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum SetAside {
    /// List them, the oldest first
    List {
        /// So many at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Have one sent after all, or all of them
    Retry(Which),
    /// Forget one, or all of them
    Drop(Which),
}

#[derive(clap::Args, Debug)]
pub(super) struct Which {
    /// The event, as the list has it
    #[arg(value_name = "ID", required_unless_present = "all")]
    id: Option<i64>,
    /// All of them
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

pub(super) async fn run(settings: &DatabaseSettings, what: &SetAside) -> anyhow::Result<String> {
    // Who has mistyped the name of a file wants no new one.
    let url = settings.url.with_password().replace("mode=rwc", "mode=rw");
    let database = Database::open(&url).await.with_context(|| format!("cannot open {}", settings.url))?;
    let result = look_after(&database, what).await;
    database.close(END).await;
    result
}

async fn look_after(database: &Database, what: &SetAside) -> anyhow::Result<String> {
    let outbox = Outbox::without_relay(database).await?;
    match what {
        SetAside::List { limit } => list(&outbox, *limit).await,
        SetAside::Retry(which) => {
            let mut count = 0;
            for id in ids(&outbox, which).await? {
                count += usize::from(outbox.bring_back(id).await?);
            }
            told(count, which, "will be sent")
        }
        SetAside::Drop(which) => {
            let mut count = 0;
            for id in ids(&outbox, which).await? {
                count += usize::from(outbox.forget(id).await?);
            }
            told(count, which, "forgotten")
        }
    }
}

async fn list(outbox: &Outbox, limit: usize) -> anyhow::Result<String> {
    let rows = outbox.set_aside(limit).await?.into_iter().map(|aside| {
        [
            aside.id.to_string(),
            aside.event.to_string(),
            aside.key.as_deref().unwrap_or("-").to_owned(),
            aside.context.as_deref().unwrap_or("-").to_owned(),
            format_rfc3339_seconds(aside.at).to_string(),
            format_rfc3339_seconds(aside.since).to_string(),
            aside.reason,
        ]
    });
    Ok(table(["ID", "EVENT", "KEY", "FIRED BY", "FIRED AT", "SINCE", "REASON"], &rows.collect::<Vec<_>>()))
}

async fn ids(outbox: &Outbox, which: &Which) -> anyhow::Result<Vec<i64>> {
    match which.id {
        Some(id) => Ok(vec![id]),
        None => Ok(outbox.set_aside(MOST).await?.into_iter().map(|aside| aside.id).collect()),
    }
}

/// One that was named must have been there.
fn told(count: usize, which: &Which, done: &str) -> anyhow::Result<String> {
    if let (0, Some(id)) = (count, which.id) {
        bail!("no event {id} was set aside; expected one of `presence bus outbox list`");
    }
    Ok(format!("{count} {done}\n"))
}

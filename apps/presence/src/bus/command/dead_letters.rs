//! `presence bus dead-letters`.

use anyhow::bail;
use clap::Subcommand;
use humantime::format_rfc3339_seconds;
use logcontext_bus::Bus;
use logcontext_bus::transport::EventId;

use super::table::table;

/// So many of one event are looked at.
const MOST: usize = 10_000;

#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List them, the oldest first
    List {
        /// Of this event only
        #[arg(long)]
        event: Option<String>,
        /// So many of each event at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Give one to its group again, or all of an event
    Retry(Which),
    /// Forget one, or all of an event
    Drop(Which),
}

#[derive(clap::Args, Debug)]
pub(super) struct Which {
    /// The event, such as presence.changed
    event: String,
    /// The dead letter, as the list has it
    #[arg(value_name = "ID", required_unless_present = "all")]
    id: Option<EventId>,
    /// All of the event
    #[arg(long, conflicts_with = "id")]
    all: bool,
}

pub(super) async fn run(bus: &Bus, what: &DeadLetters) -> anyhow::Result<String> {
    match what {
        DeadLetters::List { event, limit } => list(bus, event.as_deref(), *limit).await,
        DeadLetters::Retry(which) => {
            let mut count = 0;
            for id in ids(bus, which).await? {
                count += usize::from(bus.retry_dead_letter(&which.event, id).await?);
            }
            told(count, which, "will be tried again")
        }
        DeadLetters::Drop(which) => {
            let mut count = 0;
            for id in ids(bus, which).await? {
                count += usize::from(bus.drop_dead_letter(&which.event, id).await?);
            }
            told(count, which, "forgotten")
        }
    }
}

async fn list(bus: &Bus, event: Option<&str>, limit: usize) -> anyhow::Result<String> {
    let events = match event {
        Some(event) => vec![event.to_owned()],
        None => bus.events().await?,
    };
    let mut rows = Vec::new();
    for event in events {
        for letter in bus.dead_letters(&event, limit).await? {
            rows.push([
                event.clone(),
                letter.id.to_string(),
                format_rfc3339_seconds(letter.at).to_string(),
                letter.group.to_string(),
                letter.deliveries.to_string(),
                letter.reason,
            ]);
        }
    }
    Ok(table(["EVENT", "ID", "SINCE", "GROUP", "DELIVERIES", "REASON"], &rows))
}

async fn ids(bus: &Bus, which: &Which) -> anyhow::Result<Vec<EventId>> {
    match which.id {
        Some(id) => Ok(vec![id]),
        None => {
            let letters = bus.dead_letters(&which.event, MOST).await?;
            Ok(letters.into_iter().map(|letter| letter.id).collect())
        }
    }
}

/// One that was named must have been there.
fn told(count: usize, which: &Which, done: &str) -> anyhow::Result<String> {
    if let (0, Some(id)) = (count, which.id) {
        bail!(
            "there is no dead letter {id} of {}; expected one of `presence bus dead-letters list`",
            which.event
        );
    }
    Ok(format!("{count} {done}\n"))
}

//! What several processes of `presence` do a second: a sender with many destinations, and users' interface by one process
//! and by two.

mod api;
mod hubs;
mod process;
mod sender;

use anyhow::Result;
use serde_json::json;

use crate::Effort;
use crate::report::Report;

pub(crate) fn run(report: &mut Report, effort: Effort) -> Result<()> {
    sender::run(report, effort)?;
    api::run(report, effort)?;
    report.put(
        "method",
        json!({
            "sender": "one process of presence with the role `sender`, on Redis and SQLite; events of different users are fired from 50 tasks of the bench's process, which also is all the hubs that are told: one HTTP server that counts states; from the first event to when each hub has all states",
            "api": "processes of presence with the role `api`, on Redis without persistence and PostgreSQL with its defaults; 32 clients in the bench's process, each with a connection, set the presence of 500 users, each as soon as the last one was answered",
            "cpu": "user and system time of the processes of presence, by the kernel's ticks",
            "machine": "servers, clients, hubs, broker and database share the machine's processors: what is left of them is said as `idle`",
            "rates": "medians of rounds, each with processes of its own",
        }),
    );
    Ok(())
}

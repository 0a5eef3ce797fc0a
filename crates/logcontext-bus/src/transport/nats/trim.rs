//! Forgets what all groups have done, but for the newest, and whatever is beyond the cap. Each partition by itself.

use std::collections::BTreeSet;

use serde_json::json;

use super::failure::Failure;
use super::js::{self, ConsumerInfo, Done, Purged, StreamInfo};
use super::shared::Shared;
use super::streams::nanos;
use crate::config::Retention;
use crate::transport::Trimmed;

/// A consumer that only counts is gone by itself after so long, should nobody have said so.
const PASSING: std::time::Duration = std::time::Duration::from_secs(10);

pub(super) async fn trim(shared: &Shared, event: &str, retention: Retention) -> Result<Trimmed, Failure> {
    let (stream, all) = (shared.names.events(event), shared.names.partitions(event));
    let Some(StreamInfo { state }) = shared.info(&stream, &all).await? else { return Ok(Trimmed::default()) };
    let groups = shared.groups(&stream).await?;
    let is_whole = state.subjects.len() == 1 && state.num_deleted == 0;
    let (mut trimmed, mut behind) = (Trimmed::default(), BTreeSet::new());
    for (subject, count) in state.subjects {
        let Some(partition) = subject.rsplit_once('.').and_then(|(_, text)| text.parse::<u16>().ok()) else {
            continue;
        };
        let partition = Partition {
            shared,
            stream: &stream,
            subject: &subject,
            is_whole,
            first: state.first_seq,
            next: state.last_seq + 1,
            count,
            // What each group has not done begins behind what it has.
            undone: groups
                .iter()
                .filter(|(_, of, _)| *of == partition)
                .map(|(group, _, ConsumerInfo { ack_floor, .. })| (&**group, ack_floor.stream_seq + 1))
                .collect(),
        };
        let (kept, lost) = partition.trim(retention, &mut behind).await?;
        (trimmed.kept, trimmed.lost) = (trimmed.kept.max(kept), trimmed.lost + lost);
    }
    trimmed.behind = behind.into_iter().collect();
    Ok(trimmed)
}

struct Partition<'a> {
    shared: &'a Shared,
    stream: &'a str,
    subject: &'a str,
    /// All numbers from the first to the last are of this partition.
    is_whole: bool,
    first: u64,
    /// The number that the next event gets, at least
    next: u64,
    count: u64,
    undone: Vec<(&'a str, u64)>,
}

impl Partition<'_> {
    /// Answers how many are kept, and how many are lost.
    async fn trim(
        mut self,
        retention: Retention,
        behind: &mut BTreeSet<String>,
    ) -> Result<(u64, u64), Failure> {
        let (history, cap) = (retention.history as u64, retention.cap as u64);
        let undone = self.undone.iter().map(|(_, undone)| *undone).min().unwrap_or(u64::MAX);
        if self.count > history {
            let cut = self.newest(history).await?.min(undone);
            self.forget_before(cut).await?;
        }
        let mut lost = 0;
        if self.count > cap {
            let cut = self.newest(cap).await?;
            if undone < cut {
                lost = self.between(undone, cut).await?;
            }
            for (group, undone) in self.undone.clone() {
                if undone < cut && self.between(undone, cut).await? > 0 {
                    behind.insert(group.to_owned());
                }
            }
            self.forget_before(cut).await?;
        }
        Ok((self.count, lost))
    }

    /// The number from which on there are so many.
    async fn newest(&self, count: u64) -> Result<u64, Failure> {
        if self.is_whole || count == 0 {
            return Ok(self.next.saturating_sub(count));
        }
        // From the first on there are more, from the last none.
        let (mut more, mut fewer) = (self.first, self.next);
        while more + 1 < fewer {
            let middle = more + (fewer - more) / 2;
            if self.count_from(middle).await? >= count {
                more = middle;
            } else {
                fewer = middle;
            }
        }
        Ok(more)
    }

    /// So many there are between these.
    async fn between(&self, from: u64, to: u64) -> Result<u64, Failure> {
        let from = from.max(self.first);
        if from >= to {
            return Ok(0);
        }
        if self.is_whole {
            return Ok(to - from);
        }
        Ok(self.count_from(from).await?.saturating_sub(self.count_from(to).await?))
    }

    /// So many there are from this number on. A new consumer is told how much is before it.
    async fn count_from(&self, sequence: u64) -> Result<u64, Failure> {
        let config = json!({
            "deliver_policy": "by_start_sequence", "opt_start_seq": sequence.max(1), "filter_subject": self.subject,
            "ack_policy": "none", "mem_storage": true, "inactive_threshold": nanos(PASSING),
        });
        let counts = js::create_passing_consumer(self.stream, &config);
        let ConsumerInfo { name, num_pending, .. } = js::read(&self.shared.ask(&counts).await?)?;
        js::read::<Done>(&self.shared.ask(&js::delete_consumer(self.stream, &name)).await?)?;
        Ok(num_pending)
    }

    async fn forget_before(&mut self, sequence: u64) -> Result<(), Failure> {
        if sequence <= self.first {
            return Ok(());
        }
        let filter = (!self.is_whole).then_some(self.subject);
        // What comes meanwhile is behind.
        let purge = js::purge(self.stream, filter, Some(sequence.min(self.next)));
        let Purged { purged } = js::read(&self.shared.ask(&purge).await?)?;
        self.count = self.count.saturating_sub(purged);
        self.first = self.first.max(if self.is_whole { sequence } else { 0 });
        Ok(())
    }
}

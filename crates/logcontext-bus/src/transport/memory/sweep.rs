//! Taking from others what they have not renewed.

use std::sync::Arc;

use tokio::time::Instant;

use super::consumer::Consumer;
use super::stream::Group;

impl Consumer {
    /// Takes from others what they have not renewed, for ever.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            let others = self.others.notified();
            let now = Instant::now();
            let found = self.with_group(|group| self.claim(group, now));
            if found.is_some_and(|(claimed, _)| claimed) {
                self.stream.kick_group(&self.group);
            }
            // Alone there is nobody to take from.
            match found.and_then(|(_, next)| next) {
                Some(next) => tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = others => {}
                },
                None => others.await,
            }
        }
    }

    /// Whether there was something, and when to look again.
    fn claim(&self, group: &mut Group, now: Instant) -> (bool, Option<Instant>) {
        if group.members.consumers.iter().all(|other| other.id == self.id) {
            return (false, None);
        }
        let (mut claimed, mut next) = (false, now + self.claim_after);
        let retrying = self.with_retried.then_some(&mut group.retrying);
        let read = group.cursors.iter_mut().filter(|(partition, _)| self.reads(**partition));
        for cursor in read.map(|(_, cursor)| cursor).chain(retrying) {
            claimed |= cursor
                .take_back(|pending| pending.consumer != self.id && now >= pending.since + self.claim_after);
            let held = cursor
                .pending
                .iter()
                .filter(|(id, had)| had.consumer != self.id && !cursor.returned.contains(id));
            next = held.map(|(_, had)| had.since + self.claim_after).fold(next, Instant::min);
        }
        (claimed, Some(next))
    }
}

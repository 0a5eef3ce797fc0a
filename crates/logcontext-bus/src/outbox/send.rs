//! Sending what was read: lanes side by side, each in order.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::stream::{self, StreamExt as _};
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::entry::Entry;
use super::figures::Figures;
use crate::bus::Inner;
use crate::transport::{Publish, TransportError};

/// An event that can be sent.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) id: i64,
    pub(super) lane: i64,
    pub(super) read: Instant,
    pub(super) age: std::time::Duration,
    pub(super) publish: Publish,
}

/// What became of those that were to be sent: filled while they are, and there also if that is given up half-way.
#[derive(Debug)]
pub(super) struct Sent(Mutex<(Became, Instant)>);

#[derive(Debug, Default)]
pub(super) struct Became {
    /// The broker has these: their ids and lanes.
    pub(super) sent: Vec<(i64, i64)>,
    pub(super) refused: Vec<RefusedOne>,
    /// Why the broker could not be told the rest.
    pub(super) trouble: Option<String>,
    pub(super) is_closed: bool,
}

/// The broker will not have it.
#[derive(Debug)]
pub(super) struct RefusedOne {
    pub(super) id: i64,
    pub(super) lane: i64,
    pub(super) event: &'static str,
    pub(super) why: String,
}

impl Sent {
    /// Nothing, so far. No more is begun from `until` on.
    pub(super) fn new(until: Instant) -> Self {
        Self(Mutex::new((Became::default(), until)))
    }

    /// There is time until then.
    pub(super) fn extend(&self, until: Instant) {
        self.lock().1 = until;
    }

    pub(super) fn take(&self) -> Became {
        std::mem::take(&mut self.lock().0)
    }

    fn note(&self, note: impl FnOnce(&mut Became)) {
        note(&mut self.lock().0);
    }

    /// Others have had trouble, which this one would have as well; or there is no more time.
    fn is_over(&self) -> bool {
        let (became, until) = &*self.lock();
        became.is_closed || became.trouble.is_some() || Instant::now() >= *until
    }

    fn lock(&self) -> MutexGuard<'_, (Became, Instant)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that can be sent, and those that cannot.
pub(super) fn sort(page: Vec<Entry>) -> (Vec<Ready>, Vec<(i64, i64, String)>) {
    let (mut ready, mut unfit) = (Vec::with_capacity(page.len()), Vec::new());
    let read = Instant::now();
    for Entry { id, lane, age, publish } in page {
        match publish {
            Ok(publish) => ready.push(Ready { id, lane, read, age, publish }),
            Err(why) => unfit.push((id, lane, why)),
        }
    }
    (ready, unfit)
}

/// Sends them, of each lane one after the other, until all are sent, something goes wrong, or there is no more time.
pub(super) async fn send(
    inner: &Inner,
    figures: &Figures,
    ready: Vec<Ready>,
    side_by_side: usize,
    became: &Sent,
) {
    let mut lanes = Vec::<Vec<Ready>>::new();
    let mut places = FxHashMap::default();
    for one in ready {
        let place = *places.entry(one.lane).or_insert_with(|| {
            lanes.push(Vec::new());
            lanes.len() - 1
        });
        lanes[place].push(one);
    }
    stream::iter(lanes)
        .for_each_concurrent(side_by_side, |lane| send_lane(inner, figures, lane, became))
        .await;
}

async fn send_lane(inner: &Inner, figures: &Figures, lane: Vec<Ready>, became: &Sent) {
    for Ready { id, lane, read, age, publish } in lane {
        if became.is_over() {
            return;
        }
        let event = publish.event;
        match inner.transport.events().publish(publish).await {
            Ok(_) => {
                figures.times.observe(age + read.elapsed());
                became.note(|became| became.sent.push((id, lane)));
            }
            Err(TransportError::Closed) => return became.note(|became| became.is_closed = true),
            Err(TransportError::Lost(why)) => {
                return became.note(|became| became.trouble = Some(why.to_string()));
            }
            Err(TransportError::Refused(why)) if inner.transport.events().is_passing(&why) => {
                return became.note(|became| became.trouble = Some(why));
            }
            Err(TransportError::Refused(why)) => {
                figures.refusals.fetch_add(1, Relaxed);
                return became.note(|became| became.refused.push(RefusedOne { id, lane, event, why }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use logcontext::{FutureExt as _, LogContext, testing};

    use super::*;
    use crate::message::Message;
    use crate::{Bus, BusConfig};

    fn ready(id: i64) -> Ready {
        let message = Message { head: Bytes::new(), body: Bytes::new() };
        let publish = Publish { event: "presence.set", partition: 0, message };
        Ready { id, lane: 7, read: Instant::now(), age: Duration::ZERO, publish }
    }

    /// As after a process has stood still: where no event has to wait for the broker, nothing else looks at the clock.
    #[test]
    fn nothing_is_begun_once_there_is_no_more_time() {
        let test = testing::start();
        let sending = async {
            let bus = Bus::connect(&BusConfig::new("presence", "memory:")).await.unwrap();
            let (figures, sent) = (Figures::new("bus", "database"), Sent::new(Instant::now()));
            send(bus.inner(), &figures, vec![ready(1), ready(2)], 1, &sent).await;
            assert_eq!(sent.take().sent, []);
            sent.extend(Instant::now() + Duration::from_secs(600));
            send(bus.inner(), &figures, vec![ready(1), ready(2)], 1, &sent).await;
            assert_eq!(sent.take().sent, [(1, 7), (2, 7)]);
            bus.close(Duration::from_secs(10)).await;
        };
        test.current_thread().block_on(sending.in_context(LogContext::new("TEST-1")));
    }
}

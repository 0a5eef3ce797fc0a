//! What one consumer has in its hands.
//!
//! The broker does not say whose an event is: it gives it to another when nobody has renewed it for so long. So whoever gets
//! an event that was delivered before tells all consumers of its group, which hear it by the same connection as what they
//! ask themselves: once one has been answered, it knows all that was said before. What was said while there was no
//! connection is told by time alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures_util::{FutureExt as _, StreamExt as _};
use rustc_hash::{FxHashMap, FxHashSet};

use super::ack::Ack;
use crate::transport::{DeliveryId, EventId};

/// So many events that were done here are remembered, twice: a broker that was killed may have forgotten it.
const REMEMBERED: usize = 4096;

/// What a broker has acknowledged of consumers it writes down a bit later: what was done within so long before it was killed
/// it may have forgotten.
const LATE: Duration = Duration::from_secs(5);

/// One event in hand.
#[derive(Clone, Debug)]
pub(super) struct Hand {
    pub(super) ack: Ack,
    /// So often it has come to somebody who did not give it back, this time included.
    pub(super) times: u64,
    /// No later than that it was renewed
    renewed: Instant,
    /// Something may have been missed since.
    is_unsure: bool,
}

impl Hand {
    pub(super) fn new(ack: Ack, times: u64) -> Self {
        Self { ack, times, renewed: Instant::now(), is_unsure: false }
    }

    /// How often it has come is written down from the second time on.
    pub(super) fn is_written_down(&self) -> bool {
        self.ack.deliveries > 1
    }
}

/// What one consumer has in its hands.
pub(super) struct Hands {
    /// Tells it from all others
    pub(super) name: String,
    claim_after: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    all: FxHashMap<DeliveryId, Hand>,
    notices: Option<Subscriber>,
    /// Leased partitions that another has taken over
    taken: FxHashSet<u16>,
    /// How what was done of late was acknowledged
    late: VecDeque<(Instant, String)>,
    done: FxHashSet<(DeliveryId, u64)>,
    done_before: FxHashSet<(DeliveryId, u64)>,
}

impl Hands {
    pub(super) fn new(identity: &str, claim_after: Duration) -> Arc<Self> {
        let name = format!("{identity}/{:016x}", fastrand::u64(..));
        Arc::new(Self { name, claim_after, state: Mutex::default() })
    }

    /// That this one has it now, and how often it was delivered.
    pub(super) fn notice(&self, id: DeliveryId, deliveries: u64) -> String {
        format!("{} {} {deliveries} {}", id.partition, id.id.0, self.name)
    }

    /// That this one has all of a partition up to here.
    pub(super) fn notice_of_all(&self, partition: u16, last: u64) -> String {
        format!("{partition} {last} all {}", self.name)
    }

    /// Hears of others by this from now on.
    pub(super) fn hear_by(&self, notices: Subscriber) {
        let mut state = self.lock();
        if state.notices.replace(notices).is_some() {
            state.all.values_mut().for_each(|hand| hand.is_unsure = true);
        }
    }

    /// Those of these that it has, by what is known now.
    pub(super) fn own(&self, ids: &[DeliveryId]) -> Vec<(DeliveryId, Hand)> {
        let mut state = self.hear();
        let claim_after = self.claim_after;
        state.all.retain(|_, hand| !(hand.is_unsure && hand.renewed.elapsed() >= claim_after));
        ids.iter().filter_map(|id| Some((*id, state.all.get(id)?.clone()))).collect()
    }

    /// They were renewed, after this moment.
    pub(super) fn renewed(&self, ids: &[(DeliveryId, Hand)], since: Instant) {
        let mut state = self.lock();
        for (id, _) in ids {
            if let Some(hand) = state.all.get_mut(id) {
                (hand.renewed, hand.is_unsure) = (since, false);
            }
        }
    }

    pub(super) fn put(&self, id: DeliveryId, hand: Hand) {
        self.hear().all.insert(id, hand);
    }

    /// It is let go: this delivery of it, and not one that has come since.
    pub(super) fn remove(&self, id: DeliveryId, hand: &Hand) {
        let mut state = self.lock();
        if state.all.get(&id).is_some_and(|own| own.ack.deliveries <= hand.ack.deliveries) {
            state.all.remove(&id);
        }
    }

    /// It is done.
    pub(super) fn done(&self, id: DeliveryId, hand: &Hand) {
        let mut state = self.lock();
        state.all.remove(&id);
        if state.done.len() >= REMEMBERED {
            state.done_before = std::mem::take(&mut state.done);
        }
        state.done.insert((id, hand.ack.nanos));
        let is_old = |(when, _): &(Instant, String)| when.elapsed() > LATE;
        while state.late.len() >= REMEMBERED || state.late.front().is_some_and(is_old) {
            state.late.pop_front();
        }
        state.late.push_back((Instant::now(), hand.ack.subject.clone()));
    }

    /// How what was done of late was acknowledged, to be told again to a broker that may have been killed.
    pub(super) fn take_late(&self) -> VecDeque<(Instant, String)> {
        std::mem::take(&mut self.lock().late)
    }

    /// Was it done here?
    pub(super) fn was_done(&self, id: DeliveryId, nanos: u64) -> bool {
        let state = self.lock();
        state.done.contains(&(id, nanos)) || state.done_before.contains(&(id, nanos))
    }

    /// Has another taken over this partition?
    pub(super) fn is_taken(&self, partition: u16) -> bool {
        self.hear().taken.contains(&partition)
    }

    /// With all that was said until now.
    fn hear(&self) -> MutexGuard<'_, State> {
        let mut guard = self.lock();
        let state = &mut *guard;
        while let Some(Some(Some(notice))) =
            state.notices.as_mut().map(|notices| notices.next().now_or_never())
        {
            if let Some(notice) = std::str::from_utf8(&notice.payload).ok().and_then(Notice::parse)
                && notice.by != self.name
            {
                notice.apply(state);
            }
        }
        guard
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody has taken something over.
#[derive(Debug, PartialEq, Eq)]
struct Notice<'a> {
    partition: u16,
    sequence: u64,
    /// `None`: all up to there
    deliveries: Option<u64>,
    by: &'a str,
}

impl<'a> Notice<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.splitn(4, ' ');
        let (partition, sequence) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let deliveries = match words.next()? {
            "all" => None,
            deliveries => Some(deliveries.parse().ok()?),
        };
        Some(Self { partition, sequence, deliveries, by: words.next()? })
    }

    fn apply(&self, state: &mut State) {
        let Self { partition, sequence, deliveries, .. } = *self;
        if let Some(deliveries) = deliveries {
            let id = DeliveryId { partition, id: EventId(sequence, 0) };
            if state.all.get(&id).is_some_and(|hand| hand.ack.deliveries < deliveries) {
                state.all.remove(&id);
            }
        } else {
            state.taken.insert(partition);
            state.all.retain(|id, _| id.partition != partition || id.id.0 > sequence);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(partition: u16, sequence: u64) -> DeliveryId {
        DeliveryId { partition, id: EventId(sequence, 0) }
    }

    fn hand(deliveries: u64) -> Hand {
        Hand::new(Ack::parse(&format!("$JS.ACK.S.g.{deliveries}.1.1.1.1")).unwrap(), deliveries)
    }

    #[test]
    fn a_notice_is_read_as_it_was_written() {
        let hands = Hands::new("test/1", Duration::from_secs(1));
        let one = hands.notice(id(3, 17), 2);
        let by = &*hands.name;
        assert_eq!(Notice::parse(&one), Some(Notice { partition: 3, sequence: 17, deliveries: Some(2), by }));
        let all = hands.notice_of_all(3, 17);
        assert_eq!(Notice::parse(&all), Some(Notice { partition: 3, sequence: 17, deliveries: None, by }));
        for none in ["", "1", "1 2", "1 2 3", "1 2 x y", "70000 1 1 y", "-1 1 1 y"] {
            assert_eq!(Notice::parse(none), None, "{none}");
        }
    }

    #[test]
    fn what_another_was_given_later_is_its_and_what_it_had_before_is_not() {
        let mut state = State::default();
        for (sequence, deliveries) in [(1, 1), (2, 2), (3, 3)] {
            state.all.insert(id(0, sequence), hand(deliveries));
            Notice { partition: 0, sequence, deliveries: Some(2), by: "other" }.apply(&mut state);
        }
        assert!(!state.all.contains_key(&id(0, 1)));
        assert!(state.all.contains_key(&id(0, 2)) && state.all.contains_key(&id(0, 3)));
        state.all.insert(id(1, 2), hand(1));
        Notice { partition: 0, sequence: 2, deliveries: None, by: "other" }.apply(&mut state);
        assert_eq!(state.taken, [0].into_iter().collect());
        assert!(state.all.contains_key(&id(1, 2)) && state.all.contains_key(&id(0, 3)));
        assert!(!state.all.contains_key(&id(0, 2)));
    }

    #[test]
    fn what_may_have_become_anothers_unheard_is_its_once_its_time_is_over() {
        let hands = Hands::new("test/1", Duration::ZERO);
        hands.put(id(0, 1), hand(1));
        assert_eq!(hands.own(&[id(0, 1)]).len(), 1);
        hands.lock().all.get_mut(&id(0, 1)).unwrap().is_unsure = true;
        assert_eq!(hands.own(&[id(0, 1)]).len(), 0);
    }

    #[test]
    fn what_comes_back_while_it_is_let_go_is_in_hand() {
        let hands = Hands::new("test/1", Duration::from_secs(1));
        hands.put(id(0, 1), hand(2));
        hands.remove(id(0, 1), &hand(1));
        assert_eq!(hands.own(&[id(0, 1)]).len(), 1);
        hands.remove(id(0, 1), &hand(2));
        assert_eq!(hands.own(&[id(0, 1)]).len(), 0);
    }

    #[test]
    fn what_was_done_is_remembered_and_nothing_else() {
        let hands = Hands::new("test/1", Duration::ZERO);
        for sequence in 0..3 * REMEMBERED as u64 {
            hands.done(id(0, sequence), &hand(1));
        }
        assert!(hands.was_done(id(0, 3 * REMEMBERED as u64 - 1), 1));
        assert!(!hands.was_done(id(0, 3 * REMEMBERED as u64 - 1), 2), "of another stream by that name");
        assert!(!hands.was_done(id(0, 0), 1), "it is bounded");
    }
}

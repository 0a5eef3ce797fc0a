use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Wake;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn poll(waits: &Waits, wait: u64) -> Poll<Told> {
    waits.poll(wait, &mut Context::from_waker(Waker::noop()))
}

fn begin(waits: &Waits, kind: Kind, until: Instant) -> u64 {
    waits.begin(kind, until, Waker::noop())
}

#[test]
fn what_is_told_is_told_once_and_wakes_whoever_polled_last() {
    let (waits, soon) = (Waits::default(), Instant::now() + Duration::from_secs(5));
    let wakers = [Arc::new(Counts::default()), Arc::new(Counts::default())];
    let wait = waits.begin(Kind::Call, soon, &Waker::from(wakers[0].clone()));
    let second = Waker::from(wakers[1].clone());
    assert!(waits.poll(wait, &mut Context::from_waker(&second)).is_pending());
    assert!(!waits.tell(wait, Kind::Handler, Told::Cancelled), "it is no handler");
    assert!(waits.tell(wait, Kind::Call, Told::Unserved));
    assert!(!waits.tell(wait, Kind::Call, Told::Closed), "it was told");
    assert_eq!(wakers.map(|waker| waker.0.load(SeqCst)), [0, 1]);
    assert!(matches!(poll(&waits, wait), Poll::Ready(Told::Unserved)));
    assert_eq!(waits.count(Kind::Call), 0);
    assert!(!waits.tell(wait, Kind::Call, Told::Closed) && !waits.forget(wait));
}

#[test]
fn a_number_is_no_others_when_its_place_is_used_again() {
    let (waits, soon) = (Waits::default(), Instant::now() + Duration::from_secs(5));
    let first = begin(&waits, Kind::Call, soon);
    assert!(waits.forget(first));
    let second = begin(&waits, Kind::Call, soon);
    assert_ne!(first, second);
    assert!(!waits.tell(first, Kind::Call, Told::Unserved));
    assert!(poll(&waits, second).is_pending());
    assert!(matches!(poll(&waits, first), Poll::Ready(Told::Closed)));
    for nonsense in [u64::MAX, u64::MAX / 8, 1 << 40, second + 8] {
        assert!(!waits.tell(nonsense, Kind::Call, Told::Unserved) && !waits.forget(nonsense));
    }
    assert!(waits.tell(second, Kind::Call, Told::Unserved));
    assert!(!waits.forget(second), "it was told");
}

#[test]
fn all_of_a_kind_are_told_at_once() {
    let (waits, soon) = (Waits::default(), Instant::now() + Duration::from_secs(5));
    let calls: Vec<_> = (0..100).map(|_| begin(&waits, Kind::Call, soon)).collect();
    let handler = begin(&waits, Kind::Handler, soon);
    assert!(waits.tell(calls[7], Kind::Call, Told::Unserved));
    assert_eq!(waits.tell_all(Kind::Call, || Told::Lost("reset".into())), 99);
    for (n, call) in calls.into_iter().enumerate() {
        let told = poll(&waits, call);
        assert_eq!(matches!(told, Poll::Ready(Told::Unserved)), n == 7);
    }
    assert!(poll(&waits, handler).is_pending());
    assert_eq!((waits.count(Kind::Call), waits.count(Kind::Handler)), (0, 1));
}

proptest! {
    /// Steps of up to ten seconds: more than two rounds of the wheel.
    #[test]
    fn each_is_over_at_its_time_and_not_before(
        steps in proptest::collection::vec((0..10_000_u64, 0..12_000_u64, any::<bool>()), 1..80)
    ) {
        let waits = Waits::default();
        let mut now = Instant::now();
        let mut waiting = BTreeMap::new();
        let mut sleeps_until = None;
        for (millis, patience, forgets) in steps {
            let until = now + Duration::from_millis(patience);
            let wait = begin(&waits, Kind::Call, until);
            waiting.insert(wait, until);
            if forgets {
                let (wait, _) = waiting.pop_first().unwrap();
                prop_assert!(waits.forget(wait));
            }
            // The sweeper is woken if it would come too late.
            let is_woken = {
                let mut told = pin!(waits.sooner.notified());
                Future::poll(told.as_mut(), &mut Context::from_waker(Waker::noop())).is_ready()
            };
            let earliest = waiting.values().min().copied();
            if !is_woken && let Some(earliest) = earliest {
                let next: Instant = sleeps_until.expect("it sleeps for ever");
                prop_assert!(next <= earliest + Duration::from_millis(2));
            }
            now += Duration::from_millis(millis);
            sleeps_until = waits.sweep(now);
            for (wait, until) in std::mem::take(&mut waiting) {
                match poll(&waits, wait) {
                    Poll::Ready(told) => {
                        prop_assert!(matches!(told, Told::Expired));
                        prop_assert!(until <= now);
                    }
                    Poll::Pending => {
                        prop_assert!(until + Duration::from_millis(2) > now);
                        waiting.insert(wait, until);
                    }
                }
            }
            prop_assert_eq!(waits.count(Kind::Call), waiting.len());
        }
    }
}

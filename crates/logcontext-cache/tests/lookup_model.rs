//! Random sequences of asking, working, answering, failing, panicking, cancelling, invalidating, inserting and time going
//! by, beside a plain model.
mod support;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{FutureExt, LogContext, books, current_context};
use logcontext_cache::{CachedLookup, ChargeTo, LookupError};
use proptest::prelude::*;
use support::{here, until};
use tokio::sync::{mpsc, oneshot};

const KEYS: u32 = 3;
/// The last one is the sentinel.
const CALLERS: usize = 4;
/// What one piece of work costs: of a number of waiters not all get the same.
const COST: u64 = 7;
const EXPIRY: u64 = 10;
const ERROR_EXPIRY: u64 = 4;

type Id = usize;
type Cache = CachedLookup<u32, u32, u32>;
type Answered = (Result<Arc<u32>, LookupError<u32>>, String);

#[derive(Clone, Debug)]
enum Step {
    /// Somebody of this context asks for this key.
    Ask(u32, usize),
    /// One of those who wait goes.
    Cancel(usize),
    /// One of the lookups does something that costs.
    Work(usize),
    Answer(usize),
    Fail(usize),
    Panic(usize),
    Invalidate(u32),
    InvalidateAll,
    Insert(u32),
    /// So many seconds go by.
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..KEYS, 0..CALLERS).prop_map(|(key, caller)| Step::Ask(key, caller)),
        4 => any::<usize>().prop_map(Step::Cancel),
        5 => any::<usize>().prop_map(Step::Work),
        4 => any::<usize>().prop_map(Step::Answer),
        2 => any::<usize>().prop_map(Step::Fail),
        1 => any::<usize>().prop_map(Step::Panic),
        2 => (0..KEYS).prop_map(Step::Invalidate),
        1 => Just(Step::InvalidateAll),
        1 => (0..KEYS).prop_map(Step::Insert),
        2 => (0..8_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..80)
}

/// How a cache is to be.
#[derive(Clone, Copy, Debug)]
struct Kind {
    charge_to: ChargeTo,
    expires: bool,
    keeps_errors: bool,
    finishes: bool,
}

fn kinds() -> impl Strategy<Value = Kind> {
    let payers = prop::sample::select(vec![ChargeTo::FirstCaller, ChargeTo::Shared, ChargeTo::Cache]);
    (payers, any::<[bool; 3]>()).prop_map(|(charge_to, [expires, keeps_errors, finishes])| Kind {
        charge_to,
        expires,
        keeps_errors,
        finishes,
    })
}

/// What a bill is: how often, how long.
type Bill = (u64, u64);

/// What should be so.
struct Model {
    kind: Kind,
    now: u64,
    entries: BTreeMap<u32, (Result<u32, u32>, u64)>,
    flights: BTreeMap<Id, Flight>,
    /// Of each caller's context, and of the cache at the end.
    bills: [Bill; CALLERS + 1],
}

struct Flight {
    key: u32,
    listed: bool,
    /// In the order in which they came: who, of which context.
    waiters: BTreeMap<Id, usize>,
    payer: Option<Id>,
    /// What a lookup that is shared has cost so far.
    cost: Bill,
}

const CACHE: usize = CALLERS;
const SENTINEL: usize = CALLERS - 1;

/// What becomes of one who asks.
#[derive(Debug, PartialEq)]
enum Asked {
    Hit(Result<u32, u32>),
    Waits,
    Begins,
}

impl Model {
    fn new(kind: Kind) -> Self {
        let (entries, flights) = (BTreeMap::new(), BTreeMap::new());
        Self { kind, now: 0, entries, flights, bills: [(0, 0); CALLERS + 1] }
    }

    fn ask(&mut self, id: Id, key: u32, caller: usize) -> Asked {
        if let Some((answer, expires)) = self.entries.get(&key) {
            if *expires > self.now {
                return Asked::Hit(*answer);
            }
            self.entries.remove(&key);
        }
        let pays = self.kind.charge_to == ChargeTo::FirstCaller && caller != SENTINEL;
        if let Some(flight) = self.flights.values_mut().find(|flight| flight.key == key && flight.listed) {
            flight.waiters.insert(id, caller);
            if pays {
                flight.payer.get_or_insert(id);
            }
            return Asked::Waits;
        }
        let (waiters, payer) = (BTreeMap::from([(id, caller)]), pays.then_some(id));
        self.flights.insert(id, Flight { key, listed: true, waiters, payer, cost: (0, 0) });
        Asked::Begins
    }

    /// Someone goes. Answers the flight that this ends.
    fn leave(&mut self, id: Id) -> Option<Id> {
        let (&number, flight) =
            self.flights.iter_mut().find(|(_, flight)| flight.waiters.contains_key(&id))?;
        flight.waiters.remove(&id);
        if flight.waiters.is_empty() && !self.kind.finishes {
            self.land(number, None);
            return Some(number);
        }
        if flight.payer == Some(id) {
            let next = flight.waiters.iter().find(|(_, caller)| **caller != SENTINEL);
            flight.payer = next.map(|(id, _)| *id);
        }
        None
    }

    fn work(&mut self, number: Id) {
        let flight = self.flights.get_mut(&number).unwrap();
        let bill = match (self.kind.charge_to, flight.payer) {
            (ChargeTo::Shared, _) => &mut flight.cost,
            (_, Some(payer)) => &mut self.bills[flight.waiters[&payer]],
            (_, None) => &mut self.bills[CACHE],
        };
        bill.0 += 1;
        bill.1 += COST;
    }

    /// A lookup has ended, with this, if with anything that may be kept. Answers who waited.
    fn land(&mut self, number: Id, answer: Option<Result<u32, u32>>) -> Vec<Id> {
        let flight = self.flights.remove(&number).unwrap();
        let keeps = |answer: &Result<u32, u32>| answer.is_ok() || self.kind.keeps_errors;
        if let Some(answer) = answer.filter(keeps).filter(|_| flight.listed) {
            let expires = match answer {
                Ok(_) if self.kind.expires => self.now + EXPIRY,
                Ok(_) => u64::MAX,
                Err(_) => self.now + ERROR_EXPIRY,
            };
            self.entries.insert(flight.key, (answer, expires));
        }
        let parts = flight.waiters.len() as u64;
        self.bills[CACHE].0 += flight.cost.0;
        if parts == 0 {
            self.bills[CACHE].1 += flight.cost.1;
        }
        for (nth, caller) in flight.waiters.values().enumerate() {
            let odd = if nth == 0 { flight.cost.1 % parts } else { 0 };
            let payer = if *caller == SENTINEL { CACHE } else { *caller };
            self.bills[payer].1 += flight.cost.1 / parts + odd;
        }
        flight.waiters.into_keys().collect()
    }

    fn forget(&mut self, key: u32) -> bool {
        self.flights.values_mut().filter(|flight| flight.key == key).for_each(|flight| flight.listed = false);
        self.entries.remove(&key).is_some()
    }
}

/// What a lookup is told.
enum Order {
    Work(oneshot::Sender<()>),
    End(Result<u32, u32>),
    Panic,
}

type Orders = mpsc::UnboundedSender<Order>;

/// A cache whose lookups do what they are told.
fn cache(kind: Kind) -> (Cache, mpsc::UnboundedReceiver<(u32, Orders)>) {
    let (tell, begun) = mpsc::unbounded_channel();
    let mut builder = CachedLookup::builder("model").charge_to(kind.charge_to);
    if kind.expires {
        builder = builder.expiry(Duration::from_secs(EXPIRY));
    }
    if kind.keeps_errors {
        builder = builder.error_expiry(Duration::from_secs(ERROR_EXPIRY));
    }
    if kind.finishes {
        builder = builder.finish_unattended();
    }
    let lookup = move |key| {
        let tell = tell.clone();
        async move {
            let (orders, mut told) = mpsc::unbounded_channel();
            tell.send((key, orders)).expect("the test listens");
            loop {
                match told.recv().await.expect("the test goes on") {
                    Order::Work(done) => {
                        // A poll that begins after this was asked for: who pays is settled at its beginning.
                        tokio::task::yield_now().await;
                        current_context().record_db_transaction(Duration::from_nanos(COST));
                        let _ = done.send(());
                    }
                    Order::End(result) => return result,
                    Order::Panic => panic!("planned"),
                }
            }
        }
    };
    (builder.build(lookup), begun)
}

fn pick<T>(from: &BTreeMap<Id, T>, which: usize) -> Option<Id> {
    from.keys().nth(which.checked_rem(from.len())?).copied()
}

/// What an answer is, with errors of which nothing is known.
fn plain(answered: &Answered) -> Result<u32, Option<u32>> {
    match &answered.0 {
        Ok(value) => Ok(**value),
        Err(LookupError::Failed(error)) => Err(Some(**error)),
        Err(LookupError::Panicked(message)) => {
            assert_eq!(&**message, "planned");
            Err(None)
        }
        Err(error) => panic!("{error}"),
    }
}

async fn follows_the_model(test: &Test, kind: Kind, steps: Vec<Step>, is_paused: bool) {
    let (cache, mut begun) = cache(kind);
    let mut contexts: Vec<LogContext> =
        ["a", "b", "c"].map(|name| test.supervisor().context(name).start()).into();
    contexts.push(LogContext::sentinel());
    let mut model = Model::new(kind);
    let mut waiting = BTreeMap::<Id, (usize, Pin<Box<dyn Future<Output = Answered> + Send>>)>::new();
    let mut orders = BTreeMap::<Id, Orders>::new();
    let poll = |future: &mut Pin<Box<dyn Future<Output = Answered> + Send>>| {
        let mut future = tokio::task::coop::unconstrained(future);
        Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()))
    };

    for (id, step) in steps.into_iter().enumerate() {
        let value = u32::try_from(id).unwrap();
        // The flight that lands, and what those who wait for it hear.
        let mut landed = None;
        match step {
            Step::Ask(key, caller) => {
                let asking = cache.clone();
                let asking = async move { (asking.get(key).await, here()) };
                let mut asking: Pin<Box<dyn Future<Output = Answered> + Send>> =
                    Box::pin(asking.in_context(contexts[caller].clone()));
                let expected = model.ask(id, key, caller);
                match (poll(&mut asking), &expected) {
                    (Poll::Ready(answered), Asked::Hit(answer)) => {
                        assert_eq!(plain(&answered), answer.map_err(Some));
                        assert_eq!(answered.1, contexts[caller].name());
                    }
                    (Poll::Pending, Asked::Waits | Asked::Begins) => {
                        drop(waiting.insert(id, (caller, asking)));
                    }
                    (poll, expected) => panic!("{expected:?}, not {poll:?}"),
                }
                if expected == Asked::Begins {
                    let (asked, order) = begun.recv().await.expect("the cache lives");
                    assert_eq!(asked, key);
                    orders.insert(id, order);
                }
            }
            Step::Cancel(which) => {
                let Some(id) = pick(&waiting, which) else { continue };
                let ended = model.leave(id);
                drop(waiting.remove(&id));
                if let Some(flight) = ended {
                    orders.remove(&flight).unwrap().closed().await;
                }
            }
            Step::Work(which) => {
                let Some(flight) = pick(&orders, which) else { continue };
                model.work(flight);
                let (done, is_done) = oneshot::channel();
                orders[&flight].send(Order::Work(done)).map_err(drop).expect("it runs");
                is_done.await.expect("it is done");
            }
            Step::Answer(which) => {
                let Some(flight) = pick(&orders, which) else { continue };
                orders[&flight].send(Order::End(Ok(value))).map_err(drop).expect("it runs");
                landed = Some((flight, model.land(flight, Some(Ok(value))), Ok(value)));
            }
            Step::Fail(which) => {
                let Some(flight) = pick(&orders, which) else { continue };
                orders[&flight].send(Order::End(Err(value))).map_err(drop).expect("it runs");
                landed = Some((flight, model.land(flight, Some(Err(value))), Err(Some(value))));
            }
            Step::Panic(which) => {
                let Some(flight) = pick(&orders, which) else { continue };
                orders[&flight].send(Order::Panic).map_err(drop).expect("it runs");
                landed = Some((flight, model.land(flight, None), Err(None)));
            }
            Step::Invalidate(key) => assert_eq!(cache.invalidate(&key), model.forget(key)),
            Step::InvalidateAll => {
                cache.invalidate_all();
                for key in 0..KEYS {
                    model.forget(key);
                }
            }
            Step::Insert(key) => {
                cache.insert(key, value);
                model.forget(key);
                let expires = if kind.expires { model.now + EXPIRY } else { u64::MAX };
                model.entries.insert(key, (Ok(value), expires));
            }
            Step::Wait(seconds) if is_paused => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                model.now += seconds;
            }
            Step::Wait(_) => {}
        }
        // Each lookup is one task, and ends with it.
        until(|| test.supervisor().running().len() == model.flights.len()).await;
        if let Some((flight, heard, answer)) = landed {
            orders.remove(&flight).unwrap();
            for id in heard {
                let (caller, mut asking) = waiting.remove(&id).expect("it waits");
                let Poll::Ready(answered) = poll(&mut asking) else { panic!("{id} was not told") };
                assert_eq!(plain(&answered), answer);
                assert_eq!(answered.1, contexts[caller].name());
            }
        }
        for (_, asking) in waiting.values_mut() {
            assert!(poll(asking).is_pending());
        }
        assert_eq!(cache.len(), model.entries.len());
        for key in 0..KEYS {
            let live = model.entries.get(&key).filter(|(_, expires)| *expires > model.now);
            let value = live.and_then(|(answer, _)| answer.ok());
            assert_eq!(cache.peek(&key).map(|value| *value), value);
        }
        assert!(current_context().is_sentinel());
        // All that the lookups have cost is on somebody's bill, once, as soon as it is known on whose.
        for (context, bill) in contexts.iter().zip(model.bills).take(SENTINEL) {
            let usage = context.usage();
            assert_eq!(
                (usage.db_txn_count, usage.db_txn_duration.as_nanos()),
                (bill.0, bill.1.into()),
                "{context}"
            );
        }
        let totals = test.supervisor().totals();
        let row = totals.into_iter().find(|row| row.label.as_deref() == Some("lookup_model")).unwrap();
        let (count, nanos) = (row.usage.db_txn_count, row.usage.db_txn_duration.as_nanos());
        assert_eq!((count, nanos), (model.bills[CACHE].0, model.bills[CACHE].1.into()), "the cache");
    }

    // Nobody is left, whether they hear an answer or go.
    for (number, (_, (_, asking))) in waiting.into_iter().enumerate() {
        if number % 2 == 0 {
            drop(asking);
        } else {
            drop(orders.pop_first().map(|(_, orders)| orders.send(Order::End(Ok(0)))));
            drop(asking);
        }
    }
    for orders in orders.into_values() {
        let _ = orders.send(Order::End(Ok(0)));
    }
    drop(cache);
    until(|| test.supervisor().running().is_empty()).await;
}

/// Runs it on a runtime of its own; afterwards nothing is left, in no context, and the books balance.
fn checked(kind: Kind, steps: Vec<Step>, workers: Option<usize>) {
    support::short_panics();
    let test = testing::start();
    let runtime = workers.map_or_else(|| test.current_thread(), |workers| test.multi_thread(workers));
    runtime.block_on(async {
        if workers.is_none() {
            tokio::time::pause();
        }
        follows_the_model(&test, kind, steps, workers.is_none()).await;
    });
    drop(runtime);
    assert!(current_context().is_sentinel());
    support::nothing_is_left(&test);
    if let Some(books) = books() {
        assert!(books.discrepancy_percent().abs() < 1.0, "{books}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lookups_follow_the_model(kind in kinds(), steps in steps()) {
        checked(kind, steps, None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lookups_on_several_threads_follow_the_model(kind in kinds(), steps in steps()) {
        checked(kind, steps, Some(2));
    }
}

//! Random sequences of coming, polling, leaving and giving back, on this thread and on others, beside a plain model.

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc;
use std::time::Duration;

use logcontext::testing::{self, Test};
use logcontext::{LogContext, books, current_context};
use logcontext_cache::{Access, KeyedRwLock, Linearizer, Queued, Reading, Turn, Writing};
use proptest::prelude::*;
use support::keyed::{context, poll_once, waited};
use tokio::time::Instant;

const KEYS: u64 = 3;
const CONTEXTS: usize = 3;

/// Somebody's number, in order of arrival.
type Id = usize;

#[derive(Clone, Debug)]
enum Step {
    /// Somebody of this context comes for this key.
    Come(u64, Access, usize),
    Try(u64, Access, usize),
    /// One of those who wait, or of those whose turn has come without their knowing it, is polled.
    Poll(usize),
    /// One of those leaves; on another thread, if so.
    Cancel(usize, bool),
    /// One of those who hold something gives it back; on another thread, if so.
    Release(usize, bool),
    /// So much time goes by.
    Wait(u64),
}

fn steps(accesses: &'static [Access]) -> impl Strategy<Value = Vec<Step>> {
    let access = prop::sample::select(accesses);
    let come = (0..KEYS, access.clone(), 0..CONTEXTS);
    let step = prop_oneof![
        5 => come.clone().prop_map(|(key, access, context)| Step::Come(key, access, context)),
        1 => come.prop_map(|(key, access, context)| Step::Try(key, access, context)),
        3 => any::<usize>().prop_map(Step::Poll),
        2 => any::<(usize, bool)>().prop_map(|(who, elsewhere)| Step::Cancel(who, elsewhere)),
        4 => any::<(usize, bool)>().prop_map(|(who, elsewhere)| Step::Release(who, elsewhere)),
        2 => (0..5_u64).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 0..120)
}

/// What should be so: a queue of ids for each key, and who holds it.
#[derive(Default)]
struct Model {
    capacity: usize,
    keys: BTreeMap<u64, Line>,
    people: BTreeMap<Id, Person>,
}

#[derive(Default)]
struct Line {
    holders: Vec<Id>,
    waiters: VecDeque<Id>,
}

#[derive(Clone, Copy)]
struct Person {
    key: u64,
    access: Access,
    context: usize,
    since: u64,
    waited: u64,
}

impl Model {
    fn fits(&self, line: &Line, access: Access) -> bool {
        let writes = |id: &Id| self.people[id].access == Access::Write;
        match access {
            Access::Write => line.holders.is_empty(),
            _ => line.holders.len() < self.capacity && !line.holders.iter().any(writes),
        }
    }

    fn holds(&self, id: Id) -> bool {
        self.keys.get(&self.people[&id].key).is_some_and(|line| line.holders.contains(&id))
    }

    fn is_free(&mut self, key: u64, access: Access) -> bool {
        let line = std::mem::take(self.keys.entry(key).or_default());
        let free = line.waiters.is_empty() && self.fits(&line, access);
        self.keys.insert(key, line);
        self.tidy(key);
        free
    }

    fn come(&mut self, id: Id, person: Person) {
        self.people.insert(id, person);
        self.keys.entry(person.key).or_default().waiters.push_back(id);
        self.advance(person.key, person.since);
    }

    fn leave(&mut self, id: Id, now: u64) -> Person {
        let mut person = self.people[&id];
        let line = self.keys.get_mut(&person.key).unwrap();
        if line.waiters.contains(&id) {
            person.waited = now - person.since;
        }
        line.waiters.retain(|other| *other != id);
        line.holders.retain(|other| *other != id);
        self.advance(person.key, now);
        self.people.remove(&id);
        person
    }

    fn advance(&mut self, key: u64, now: u64) {
        let mut line = self.keys.remove(&key).unwrap();
        while let Some(&first) = line.waiters.front()
            && self.fits(&line, self.people[&first].access)
        {
            line.waiters.pop_front();
            line.holders.push(first);
            let person = self.people.get_mut(&first).unwrap();
            (person.waited, person.since) = (now - person.since, now);
        }
        self.keys.insert(key, line);
        self.tidy(key);
    }

    fn tidy(&mut self, key: u64) {
        if let Some(line) = self.keys.get(&key)
            && line.holders.is_empty()
            && line.waiters.is_empty()
        {
            self.keys.remove(&key);
        }
    }
}

/// Either kind of queue.
trait Queues {
    type Guard: Send + 'static;
    type Queued: Future<Output = Self::Guard> + Send + Unpin + 'static;
    fn queue(&self, key: u64, access: Access) -> Self::Queued;
    fn try_take(&self, key: u64, access: Access) -> Option<Self::Guard>;
    fn waited(guard: &Self::Guard) -> Duration;
    /// Key, access, context, since: of the holders, and of the waiters.
    fn lists(&self) -> [Vec<(u64, Access, LogContext, Instant)>; 2];
    fn keys_in_use(&self) -> usize;
}

macro_rules! lists {
    ($this:expr) => {
        [
            $this.holders().into_iter().map(|x| (x.key, x.access, x.context, x.since)).collect(),
            $this.waiting().into_iter().map(|x| (x.key, x.access, x.context, x.since)).collect(),
        ]
    };
}

impl Queues for Linearizer<u64> {
    type Guard = Turn<u64>;
    type Queued = Queued<u64, Turn<u64>>;

    fn queue(&self, key: u64, _: Access) -> Self::Queued {
        Linearizer::queue(self, key)
    }

    fn try_take(&self, key: u64, _: Access) -> Option<Turn<u64>> {
        self.try_queue(key)
    }

    fn waited(guard: &Turn<u64>) -> Duration {
        guard.waited()
    }

    fn lists(&self) -> [Vec<(u64, Access, LogContext, Instant)>; 2] {
        lists!(self)
    }

    fn keys_in_use(&self) -> usize {
        Linearizer::keys_in_use(self)
    }
}

/// A guard of the lock, whichever.
enum Guard {
    Reading(Reading<u64>),
    Writing(Writing<u64>),
}

enum LockQueued {
    Reading(Queued<u64, Reading<u64>>),
    Writing(Queued<u64, Writing<u64>>),
}

impl Future for LockQueued {
    type Output = Guard;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        match self.get_mut() {
            Self::Reading(queued) => std::pin::Pin::new(queued).poll(cx).map(Guard::Reading),
            Self::Writing(queued) => std::pin::Pin::new(queued).poll(cx).map(Guard::Writing),
        }
    }
}

impl Queues for KeyedRwLock<u64> {
    type Guard = Guard;
    type Queued = LockQueued;

    fn queue(&self, key: u64, access: Access) -> LockQueued {
        match access {
            Access::Write => LockQueued::Writing(self.write(key)),
            _ => LockQueued::Reading(self.read(key)),
        }
    }

    fn try_take(&self, key: u64, access: Access) -> Option<Guard> {
        match access {
            Access::Write => self.try_write(key).map(Guard::Writing),
            _ => self.try_read(key).map(Guard::Reading),
        }
    }

    fn waited(guard: &Guard) -> Duration {
        match guard {
            Guard::Reading(guard) => guard.waited(),
            Guard::Writing(guard) => guard.waited(),
        }
    }

    fn lists(&self) -> [Vec<(u64, Access, LogContext, Instant)>; 2] {
        lists!(self)
    }

    fn keys_in_use(&self) -> usize {
        KeyedRwLock::keys_in_use(self)
    }
}

/// A thread on which things are dropped.
struct Elsewhere {
    send: Option<mpsc::Sender<Box<dyn FnOnce() + Send>>>,
    done: mpsc::Receiver<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Elsewhere {
    fn new(test: &Test) -> Self {
        let (send, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, done) = mpsc::channel();
        let (start, runtime) = (test.thread_start(), tokio::runtime::Handle::current());
        #[expect(clippy::disallowed_methods, reason = "it is in no context")]
        let thread = std::thread::spawn(move || {
            start();
            // For the clock, which is paused there.
            let _entered = runtime.enter();
            for job in jobs {
                job();
                assert!(current_context().is_sentinel());
                tell.send(()).unwrap();
            }
        });
        Self { send: Some(send), done, thread: Some(thread) }
    }

    fn drop<T: Send + 'static>(&self, what: T, elsewhere: bool) {
        if !elsewhere {
            return drop(what);
        }
        self.send.as_ref().unwrap().send(Box::new(move || drop(what))).unwrap();
        self.done.recv().unwrap();
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        drop(self.send.take());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

/// Whose index in a list this is, if there are any.
fn pick<T>(from: &BTreeMap<Id, T>, which: usize) -> Option<Id> {
    from.keys().nth(which.checked_rem(from.len())?).copied()
}

async fn follows_the_model<Q: Queues>(test: &Test, queues: Q, capacity: usize, steps: Vec<Step>) {
    let elsewhere = Elsewhere::new(test);
    let contexts: Vec<LogContext> = ["a", "b", "c"].map(|name| context(test, name)).into();
    let mut bills = [0_u64; CONTEXTS];
    let mut model = Model { capacity, ..Model::default() };
    let (mut waiting, mut held) = (BTreeMap::<Id, Q::Queued>::new(), BTreeMap::<Id, Q::Guard>::new());
    let (start, mut now, mut next) = (Instant::now(), 0_u64, 0);

    for step in steps {
        match step {
            Step::Come(key, access, context) => {
                let mut queued = queues.queue(key, access);
                let person = Person { key, access, context, since: now, waited: 0 };
                model.come(next, person);
                let polled = contexts[context].scope(|| poll_once(&mut queued));
                match polled {
                    std::task::Poll::Ready(guard) => {
                        assert!(model.holds(next), "{next} has overtaken somebody");
                        held.insert(next, guard);
                    }
                    std::task::Poll::Pending => {
                        assert!(!model.holds(next), "{next} waits for nothing");
                        waiting.insert(next, queued);
                    }
                }
                next += 1;
            }
            Step::Try(key, access, context) => {
                let free = model.is_free(key, access);
                let guard = contexts[context].scope(|| queues.try_take(key, access));
                assert_eq!(guard.is_some(), free);
                if let Some(guard) = guard {
                    model.come(next, Person { key, access, context, since: now, waited: 0 });
                    held.insert(next, guard);
                    next += 1;
                }
            }
            Step::Poll(which) => {
                let Some(id) = pick(&waiting, which) else { continue };
                let polled = poll_once(waiting.get_mut(&id).unwrap());
                assert_eq!(polled.is_ready(), model.holds(id), "{id}");
                if let std::task::Poll::Ready(guard) = polled {
                    let person = model.people[&id];
                    assert_eq!(Q::waited(&guard), Duration::from_secs(person.waited));
                    bills[person.context] += person.waited;
                    drop(waiting.remove(&id));
                    held.insert(id, guard);
                }
            }
            Step::Cancel(which, other_thread) => {
                let Some(id) = pick(&waiting, which) else { continue };
                let person = model.leave(id, now);
                bills[person.context] += person.waited;
                elsewhere.drop(waiting.remove(&id), other_thread);
            }
            Step::Release(which, other_thread) => {
                let Some(id) = pick(&held, which) else { continue };
                model.leave(id, now);
                elsewhere.drop(held.remove(&id), other_thread);
            }
            Step::Wait(seconds) => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                now += seconds;
            }
        }
        assert_eq!(queues.keys_in_use(), model.keys.len());
        let listed = queues.lists();
        for key in 0..KEYS {
            let empty = Line::default();
            let line = model.keys.get(&key).unwrap_or(&empty);
            let ids: [Vec<Id>; 2] = [line.holders.clone(), line.waiters.iter().copied().collect()];
            for (listed, ids) in listed.iter().zip(ids) {
                let listed: Vec<_> = listed.iter().filter(|seen| seen.0 == key).cloned().collect();
                let expected: Vec<_> = ids
                    .iter()
                    .map(|id| model.people[id])
                    .map(|it| {
                        let since = start + Duration::from_secs(it.since);
                        (key, it.access, contexts[it.context].clone(), since)
                    })
                    .collect();
                assert_eq!(listed, expected);
            }
        }
        assert!(current_context().is_sentinel());
    }

    // Nobody is stuck: given back one after the other, all get their turn.
    while !(waiting.is_empty() && held.is_empty()) {
        for id in std::mem::take(&mut held).into_keys() {
            model.leave(id, now);
        }
        for (id, mut queued) in std::mem::take(&mut waiting) {
            match poll_once(&mut queued) {
                std::task::Poll::Ready(guard) => {
                    assert!(model.holds(id));
                    let person = model.people[&id];
                    bills[person.context] += person.waited;
                    held.insert(id, guard);
                }
                std::task::Poll::Pending => drop(waiting.insert(id, queued)),
            }
        }
        assert!(!held.is_empty() || waiting.is_empty(), "somebody waits for nobody");
    }
    for (context, bill) in contexts.iter().zip(bills) {
        assert_eq!(waited(context), Duration::from_secs(bill), "{context}");
    }
    assert_eq!(queues.keys_in_use(), 0);
    assert_eq!(queues.lists(), [vec![], vec![]]);
    drop(queues);
    // Who watched them ends.
    while !test.supervisor().running().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(test.supervisor().sources().is_empty());
}

/// Runs it on a runtime of its own; afterwards nothing is left, in no context, and the books balance.
fn checked<Q: Queues>(make: impl FnOnce() -> Q, capacity: usize, steps: Vec<Step>) {
    let test = testing::start();
    let runtime = test.current_thread();
    runtime.block_on(async {
        tokio::time::pause();
        follows_the_model(&test, make(), capacity, steps).await;
    });
    drop(runtime);
    // Captured records keep theirs.
    let records = test.records();
    let kept = |context: &LogContext| records.iter().any(|record| record.context == *context);
    assert!(test.supervisor().contexts().iter().all(kept), "{:?}", test.supervisor().contexts());
    if let Some(books) = books() {
        assert!(books.discrepancy_percent().abs() < 1.0, "{books}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn turns_follow_the_model(steps in steps(&[Access::Turn]), at_once in 1..4_u32) {
        let long = Duration::from_secs(3);
        let make = || Linearizer::builder("model").at_once(at_once).slow_wait(long).build();
        checked(make, at_once as usize, steps);
    }

    #[test]
    fn readers_and_writers_follow_the_model(steps in steps(&[Access::Read, Access::Read, Access::Write])) {
        let long = Duration::from_secs(3);
        checked(|| KeyedRwLock::builder("model").slow_wait(long).build(), usize::MAX, steps);
    }
}

//! The walk, one account at a time, beside a model of it.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

use proptest::prelude::*;
use rustc_hash::FxHashMap;

use super::account::Account;
use super::moves::Moved;
use super::readings::{ByLabel, RootCpu};
use super::totals::Totals;
use super::walk::{Reading, Walk};
use super::{Ledger, SHARD};
use crate::context::Inner;
use crate::kind::{ContextKind, Ending};
use crate::testing;
use crate::usage::Counter;
use crate::{LabelTotals, LogContext, RemoteUsage, Supervisor};

static MARKS: Counter = Counter::new("walk_marks");
const ENDINGS: [Ending; 4] = [Ending::Ok, Ending::Failed, Ending::Panicked, Ending::Cancelled];

#[derive(Clone, Debug)]
enum Step {
    /// In this service and this shard.
    Open(usize, usize, Option<&'static str>),
    Part(usize),
    Label(usize, &'static str),
    Charge(usize),
    Finish(usize, usize),
    Close(usize),
    Move(usize, usize),
    /// The walk goes on, or a new one begins.
    Read(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..8_usize;
    let label = prop_oneof![Just("a"), Just("b")];
    let step = prop_oneof![
        4 => (0..2_usize, 0..3_usize, prop::option::of(label.clone())).prop_map(|(s, n, l)| Step::Open(s, n, l)),
        1 => at.clone().prop_map(Step::Part),
        2 => (at.clone(), label).prop_map(|(at, label)| Step::Label(at, label)),
        4 => at.clone().prop_map(Step::Charge),
        1 => (at.clone(), 0..4_usize).prop_map(|(at, ending)| Step::Finish(at, ending)),
        3 => at.clone().prop_map(Step::Close),
        4 => (at.clone(), at).prop_map(|(from, to)| Step::Move(from, to)),
        // Most slots are empty: a walk takes a hundred pieces and more.
        8 => prop_oneof![1..6_usize, 20..60_usize].prop_map(Step::Read),
    ];
    prop::collection::vec(step, 0..120)
}

/// Every context and every charge has a mark of its own, two bits wide: a sum says how often it was counted.
const MOST: usize = 31;

fn mark(number: usize) -> u64 {
    1 << (2 * number)
}

fn times_counted(sum: u64) -> [u64; MOST] {
    std::array::from_fn(|number| (sum >> (2 * number)) & 3)
}

struct Live {
    context: LogContext,
    service: usize,
    part_of: Option<usize>,
}

/// What is known of the marks, beside the ledgers.
#[derive(Clone, Default)]
struct Model {
    /// By context: its service.
    contexts: Vec<usize>,
    /// By charge: the root that it is with, which is the number of a context.
    charges: Vec<usize>,
    /// Contexts with a label.
    labelled: HashMap<usize, &'static str>,
}

struct World {
    services: [Supervisor; 2],
    live: Vec<(usize, Live)>,
    model: Model,
}

impl World {
    fn new() -> Self {
        let services = ["one", "two"].map(Supervisor::new);
        Self { services, live: Vec::new(), model: Model::default() }
    }

    fn root(&self, at: usize) -> usize {
        let (number, live) = &self.live[at];
        live.part_of.unwrap_or(*number)
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Open(service, shard, label) if self.model.contexts.len() < MOST && self.live.len() < 8 => {
                SHARD.set(shard);
                let number = self.model.contexts.len();
                let mut builder = self.services[service].context("GET-1").kind(ContextKind::Request);
                if let Some(label) = label {
                    builder = builder.label(label);
                    self.model.labelled.insert(number, label);
                }
                let context = builder.start();
                context.add(&MARKS, mark(number));
                self.model.contexts.push(service);
                self.live.push((number, Live { context, service, part_of: None }));
            }
            Step::Part(at) if at < self.live.len() => {
                let (service, root) = (self.live[at].1.service, self.root(at));
                let whole = &self.live[at].1.context;
                let context = match self.live.len() % 2 {
                    0 => whole.nested("part"),
                    _ => whole.part(ContextKind::Block, "block", Some("block")),
                };
                self.live.push((usize::MAX, Live { context, service, part_of: Some(root) }));
            }
            Step::Label(at, label) if at < self.live.len() => {
                let (number, live) = &self.live[at];
                if live.part_of.is_none() && live.context.set_label(label) {
                    self.model.labelled.insert(*number, label);
                }
            }
            Step::Charge(at) if at < self.live.len() && self.model.charges.len() < MOST => {
                let charge = mark(self.model.charges.len());
                let context = &self.live[at].1.context;
                context.record_db_wait(Duration::from_nanos(charge));
                context.inner().unwrap().charge_cpu(charge, 0);
                context.record_remote(&RemoteUsage::call().with_cpu(Duration::from_nanos(charge)));
                self.model.charges.push(self.root(at));
            }
            Step::Finish(at, ending) if at < self.live.len() => {
                self.live[at].1.context.finish_as(ENDINGS[ending]);
            }
            Step::Close(at) if at < self.live.len() => drop(self.live.swap_remove(at)),
            Step::Move(from, to) if from < self.live.len() && to < self.live.len() => {
                let (giver, payer) = (self.root(from), self.root(to));
                let to = self.live[to].1.context.clone();
                if self.live[from].1.context.split_times(std::slice::from_ref(&to)) {
                    for place in self.model.charges.iter_mut().filter(|place| **place == giver) {
                        *place = payer;
                    }
                }
            }
            _ => {}
        }
    }

    fn totals(&self, reading: ByLabel<'_>) -> Vec<LabelTotals> {
        reading.totals(&self.services[0].ledger().labels)
    }
}

impl Model {
    /// Marks of the charges that are with these services' contexts.
    fn charged_to_roots(&self, services: usize) -> u64 {
        let with = |root: &usize| self.contexts[*root] < services;
        self.charges.iter().enumerate().filter(|(_, root)| with(root)).map(|(number, _)| mark(number)).sum()
    }

    /// Marks of the charges that are with a labelled context of this service.
    fn charged(&self, service: usize, label: &str) -> u64 {
        let with = |root: &usize| self.contexts[*root] == service && self.labelled.get(root) == Some(&label);
        self.charges.iter().enumerate().filter(|(_, root)| with(root)).map(|(number, _)| mark(number)).sum()
    }
}

/// Each mark was counted once if it was there when the walk began, and not twice in any case.
fn assert_once(sum: u64, before: u64, what: &str) {
    let (counted, before) = (times_counted(sum), times_counted(before));
    for (number, (counted, before)) in counted.into_iter().zip(before).enumerate() {
        assert!(counted <= 1 && counted >= before, "{what} {number}: {counted} times, {before} before");
    }
}

fn assert_totals(totals: &[LabelTotals], before: &Model, after: &Model) {
    let contexts: u64 = totals.iter().map(|row| row.usage.counter(&MARKS)).sum();
    let of_one = before.contexts.iter().enumerate().filter(|(_, service)| **service == 0);
    assert_once(contexts, of_one.map(|(number, _)| mark(number)).sum(), "context");
    for row in totals {
        assert_eq!(row.started, row.in_flight + row.durations.count());
        assert_eq!(row.durations.count(), row.ok + row.failed + row.panicked + row.cancelled);
        if row.kind == ContextKind::Block {
            continue;
        }
        let counted = times_counted(row.usage.counter(&MARKS)).iter().sum::<u64>();
        assert_eq!(row.started, counted, "{row:?}");
        if let Some(label) = &row.label {
            let wait = u64::try_from(row.usage.db_wait().unwrap().as_nanos()).unwrap();
            // What a label has it keeps. Who gets it during the walk may bring it along.
            assert_once(wait, before.charged(0, label), "charge");
            let ever: u64 = after.charged(0, label);
            assert_eq!(wait & !ever, 0, "never charged to {label}: {wait:x} of {ever:x}");
            let remote = row.usage.remote();
            assert_eq!(remote.cpu().unwrap_or_default(), row.usage.db_wait().unwrap(), "{row:?}");
        }
    }
}

fn by_label(steps: &[Step]) {
    let open = FxHashMap::default();
    let mut world = World::new();
    let one = world.services[0].clone();
    let ledgers = [one.ledger()];
    let mut walk: Option<(Walk<'_, ByLabel<'_>>, Model)> = None;
    for step in steps {
        world.apply(step);
        let Step::Read(pieces) = step else { continue };
        let (reader, _) = walk
            .get_or_insert_with(|| (Walk::begin(&ledgers, false, ByLabel::new(&open)), world.model.clone()));
        if (0..*pieces).all(|_| reader.step(1, 1)) {
            continue;
        }
        let (reader, before) = walk.take().unwrap();
        assert_totals(&world.totals(reader.end()), &before, &world.model);
    }
    drop(walk);
    // At rest it is exact, also after a walk that was left half-way.
    let totals = world.services[0].totals();
    assert_totals(&totals, &world.model, &world.model);
    let all = |service| world.model.contexts.iter().filter(|of| **of == service).count() as u64;
    let requests = totals.iter().filter(|row| row.kind == ContextKind::Request);
    assert_eq!(requests.map(|row| row.started).sum::<u64>(), all(0));
}

/// Of the second service the walk knows nothing if only one is `known`: as if that came up meanwhile.
fn root_cpu(steps: &[Step], known: usize) {
    let mut world = World::new();
    let services = world.services.clone();
    let ledgers = services.each_ref().map(Supervisor::ledger);
    let mut walk: Option<(Walk<'_, RootCpu>, u64)> = None;
    for step in steps {
        world.apply(step);
        let Step::Read(pieces) = step else { continue };
        let (reader, _) = walk.get_or_insert_with(|| {
            let walk = Walk::begin(&ledgers[..known], true, RootCpu::default());
            (walk, world.model.charged_to_roots(known))
        });
        if (0..*pieces).all(|_| reader.step(1, 1)) {
            continue;
        }
        let (reader, before) = walk.take().unwrap();
        let cpu = reader.end().0;
        assert!(cpu >= 0, "{cpu}");
        assert_once(cpu.cast_unsigned(), before, "charge");
    }
    drop(walk);
    let charged = world.model.charged_to_roots(2);
    assert_eq!(super::root_cpu(&ledgers), charged);
    drop(world);
    assert_eq!(services.iter().map(|service| service.ledger().gone_cpu()).sum::<u64>(), charged);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_walk_counts_each_context_once_whatever_happens_between_its_pieces(steps in steps()) {
        let _test = testing::start();
        by_label(&steps);
    }

    #[test]
    fn a_walk_finds_each_charge_once_however_often_it_moves_between_its_pieces(steps in steps(), known in 1..3_usize) {
        let _test = testing::start();
        root_cpu(&steps, known);
    }
}

/// How many contexts each piece had.
#[derive(Default)]
struct Pieces {
    live: usize,
}

impl Reading for Pieces {
    fn gone(&mut self, _: &Ledger, _: usize, _: &Totals) {}

    fn live(&mut self, _: &Account, _: &Weak<Inner>) {
        self.live += 1;
    }

    fn moved(&mut self, _: &Moved) {}
}

#[test]
fn whoever_reads_does_so_a_few_dozen_contexts_at_a_time() {
    let test = testing::start();
    let held: Vec<_> = (0..10_000).map(|_| test.supervisor().context("held").start()).collect();
    let ledgers = [test.supervisor().ledger()];
    let mut walk = Walk::begin(&ledgers, false, Pieces::default());
    let mut before = 0;
    while walk.next() {
        let live = walk.reading().live;
        assert!(live - before <= 32, "{} at once", live - before);
        before = live;
    }
    assert_eq!(walk.end().live, held.len());
}

#[test]
fn a_reader_in_the_middle_of_its_walk_keeps_nobody_from_making_ending_and_moving() {
    let test = testing::start();
    let service = test.supervisor();
    let context = || service.context("GET-1").kind(ContextKind::Request).label("GET /").start();
    let held: Vec<_> = (0..100).map(|_| context()).collect();
    let ledgers = [service.ledger()];
    let open = FxHashMap::default();
    let mut walk = Walk::begin(&ledgers, false, ByLabel::new(&open));
    let mut pieces = 0_u32;
    let mut left = held.into_iter();
    while walk.step(1, 1) {
        // Whoever had to wait for the reader would wait for ever.
        let others = std::thread::scope(|threads| {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            threads
                .spawn(|| {
                    let (lookup, payer) = (service.context("lookup").start(), context());
                    lookup.record_db_wait(Duration::from_nanos(1));
                    assert!(lookup.split_times(std::slice::from_ref(&payer)));
                    payer.usage().db_wait()
                })
                .join()
        });
        assert_eq!(others.unwrap(), Some(Duration::from_nanos(1)));
        assert!(service.contexts().len() >= left.len());
        drop(left.next());
        pieces += 1;
    }
    assert!(pieces > 100);
    let totals = walk.end().totals(&service.ledger().labels);
    let row = totals.iter().find(|row| row.label.as_deref() == Some("GET /")).unwrap();
    assert!((100..=100 + u64::from(pieces)).contains(&row.started), "{row:?}");
    assert_eq!(row.started, row.in_flight + row.durations.count());
}

#[test]
fn of_a_walk_that_was_left_half_way_nothing_is_left() {
    let test = testing::start();
    let service = test.supervisor();
    let context = || service.context("GET-1").kind(ContextKind::Request).label("GET /").start();
    let held: Vec<_> = (0..10).map(|_| context()).collect();
    let ledgers = [service.ledger()];
    let mut walk = Walk::begin(&ledgers, false, RootCpu::default());
    while walk.place() != (SHARD.get(), 5) {
        assert!(walk.step(100, 1));
    }
    drop(walk);
    assert!(super::moves::walk().is_none());
    drop(held);
    let missed: usize = service.ledger().shards.iter().map(|shard| shard.lock().walked.missed.len()).sum();
    assert_eq!(missed, 0);
}

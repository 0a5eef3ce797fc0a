//! Totals by label beside a model of them.

use logcontext::{ContextKind, Counter, Ending, LogContext, testing};
use proptest::prelude::*;

static ROWS: Counter = Counter::new("rows_fetched");
const ENDINGS: [Ending; 4] = [Ending::Ok, Ending::Failed, Ending::Panicked, Ending::Cancelled];

/// What can happen to one of a few contexts.
#[derive(Clone, Debug)]
enum Step {
    Start,
    Label(usize, &'static str),
    Charge(usize, u64),
    ChargePart(usize, u64),
    Finish(usize, usize),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..6_usize;
    let label = prop_oneof![Just("a"), Just("b")];
    let step = prop_oneof![
        3 => Just(Step::Start),
        2 => (at.clone(), label).prop_map(|(at, label)| Step::Label(at, label)),
        3 => (at.clone(), 1..1_000_u64).prop_map(|(at, n)| Step::Charge(at, n)),
        2 => (at.clone(), 1..1_000_u64).prop_map(|(at, n)| Step::ChargePart(at, n)),
        2 => (at.clone(), 0..4_usize).prop_map(|(at, ending)| Step::Finish(at, ending)),
        2 => at.prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Beside a model that books every charge under the label that its context has in the end.
    #[test]
    fn totals_are_the_sum_of_all_contexts_whatever_happens_in_whatever_order(steps in steps()) {
        let test = testing::start();
        let mut live: Vec<(LogContext, usize)> = Vec::new();
        // Per context ever made: its label, what it was charged.
        let mut made: Vec<(Option<&'static str>, u64)> = Vec::new();
        for step in steps {
            match step {
                Step::Start => {
                    live.push((test.supervisor().context("GET-1").kind(ContextKind::Request).start(), made.len()));
                    made.push((None, 0));
                }
                Step::Label(at, label) if at < live.len() => {
                    let first = live[at].0.set_label(label);
                    let known = &mut made[live[at].1].0;
                    prop_assert_eq!(first, known.is_none());
                    known.get_or_insert(label);
                }
                Step::Charge(at, n) if at < live.len() => {
                    live[at].0.add(&ROWS, n);
                    made[live[at].1].1 += n;
                }
                Step::ChargePart(at, n) if at < live.len() => {
                    live[at].0.nested("part").nested("of it").add(&ROWS, n);
                    made[live[at].1].1 += n;
                }
                Step::Finish(at, ending) if at < live.len() => {
                    live[at].0.finish_as(ENDINGS[ending]);
                }
                Step::Drop(at) if at < live.len() => drop(live.swap_remove(at)),
                _ => {}
            }
            for label in [None, Some("a"), Some("b")] {
                let mine: Vec<u64> =
                    made.iter().filter(|(of, _)| *of == label).map(|(_, charged)| *charged).collect();
                let row = test.supervisor().totals().into_iter().find(|row| row.label.as_deref() == label);
                let (started, charged) =
                    row.map_or((0, 0), |row| (row.started, row.usage.counter(&ROWS)));
                prop_assert_eq!((started, charged), (mine.len() as u64, mine.iter().sum()), "{:?}", label);
            }
        }
    }
}

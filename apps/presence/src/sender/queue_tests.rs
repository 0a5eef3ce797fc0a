use futures_util::FutureExt;
use proptest::prelude::*;

use super::super::receipt::{Abandoned, Receipts};
use super::*;
use crate::federation::ToldState;
use crate::presence::State;
use crate::time::Timestamp;

fn state(user: usize, revision: i64) -> Arc<Outgoing> {
    let state = ToldState {
        user: format!("u{user}").parse().unwrap(),
        presence: State::Online,
        status_msg: None,
        last_active: Timestamp::from_millis(revision),
        revision,
    };
    Outgoing::new(&state)
}

/// Puts it in; answers what becomes of its event: `None` while it waits.
fn push(
    queue: &mut Queue,
    user: usize,
    revision: i64,
) -> impl FnMut() -> Option<Result<(), Abandoned>> + use<> {
    let receipts = Receipts::new();
    queue.push(state(user, revision), receipts.give());
    let mut settled = Some(Box::pin(receipts.settled()));
    move || {
        let result = settled.as_mut()?.now_or_never();
        if result.is_some() {
            settled = None;
        }
        result
    }
}

fn users(states: &[Arc<Outgoing>]) -> Vec<(String, i64)> {
    states.iter().map(|state| (state.user.to_string(), state.revision)).collect()
}

#[test]
fn many_changes_of_few_users_are_one_transaction() {
    let mut queue = Queue::default();
    drop(push(&mut queue, 99, 1));
    assert_eq!(queue.begin().unwrap().len(), 1);
    for revision in 1..=100 {
        for user in 0..10 {
            drop(push(&mut queue, user, revision));
        }
    }
    queue.delivered();
    let states = queue.begin().unwrap();
    assert_eq!(users(&states), (0..10).map(|user| (format!("u{user}"), 100)).collect::<Vec<_>>());
    queue.delivered();
    assert!(queue.begin().is_none() && queue.len() == 0);
}

#[test]
fn many_users_are_transactions_of_fifty_in_the_order_in_which_they_came() {
    let mut queue = Queue::default();
    (0..120).for_each(|user| drop(push(&mut queue, user, 1)));
    let mut all = Vec::new();
    let sizes: Vec<_> = std::iter::from_fn(|| {
        let states = queue.begin()?;
        queue.delivered();
        all.extend(users(&states));
        Some(states.len())
    })
    .collect();
    assert_eq!(sizes, [50, 50, 20]);
    assert_eq!(all, (0..120).map(|user| (format!("u{user}"), 1)).collect::<Vec<_>>());
}

#[test]
fn an_event_is_done_when_its_state_is_delivered_or_something_newer_waits() {
    let mut queue = Queue::default();
    let mut first = push(&mut queue, 1, 1);
    queue.begin().unwrap();
    let mut again = push(&mut queue, 1, 1);
    let mut second = push(&mut queue, 1, 2);
    assert_eq!((first(), again(), second()), (None, None, None));
    let mut third = push(&mut queue, 1, 3);
    assert_eq!(second(), Some(Ok(())), "the third is newer");
    let mut late = push(&mut queue, 1, 2);
    assert_eq!((late(), third()), (Some(Ok(())), None));
    queue.delivered();
    assert_eq!((first(), again(), third()), (Some(Ok(())), Some(Ok(())), None));
    assert_eq!(users(&queue.begin().unwrap()), [("u1".to_owned(), 3)]);
    queue.delivered();
    assert_eq!(third(), Some(Ok(())));
}

#[test]
fn what_failed_waits_again_unless_something_newer_does() {
    let mut queue = Queue::default();
    let (mut one, mut two) = (push(&mut queue, 1, 1), push(&mut queue, 2, 1));
    queue.begin().unwrap();
    let mut newer = push(&mut queue, 2, 2);
    queue.failed();
    assert_eq!((one(), two(), newer()), (None, Some(Ok(())), None));
    let mut left: Vec<_> = queue.waiting().map(|state| (state.user.to_string(), state.revision)).collect();
    left.sort();
    assert_eq!(left, [("u1".to_owned(), 1), ("u2".to_owned(), 2)]);
    queue.settle(|state| state.revision == 1);
    assert_eq!((one(), newer(), queue.len()), (Some(Ok(())), None, 1));
    queue.abandon();
    assert_eq!(newer(), Some(Err(Abandoned)));
}

proptest! {
    /// Whatever comes in whatever order: a hub ends with the newest of each user, and no event is done before the hub has
    /// its state or a newer one, or a newer one waits.
    #[test]
    fn a_hub_ends_with_the_newest_of_each_user(
        steps in prop::collection::vec((0_usize..8, 1_i64..6, 0_u8..6), 1..200),
    ) {
        let mut queue = Queue::default();
        let (mut hub, mut newest) = (HashMap::new(), HashMap::new());
        let mut events = Vec::new();
        let mut under_way: Option<Vec<Arc<Outgoing>>> = None;
        let learn = |hub: &mut HashMap<UserId, i64>, states: Vec<Arc<Outgoing>>| {
            for state in states {
                let known = hub.entry(state.user.clone()).or_default();
                *known = state.revision.max(*known);
            }
        };
        for (user, revision, what) in steps {
            match (what, under_way.take()) {
                (0, None) => under_way = queue.begin(),
                (0 | 1, Some(states)) => {
                    learn(&mut hub, states);
                    queue.delivered();
                }
                // It may have arrived all the same.
                (2, Some(states)) => {
                    if revision % 2 == 0 {
                        learn(&mut hub, states);
                    }
                    queue.failed();
                }
                (_, states) => {
                    under_way = states;
                    let name: UserId = format!("u{user}").parse().unwrap();
                    let seen = newest.entry(name.clone()).or_insert(0);
                    *seen = revision.max(*seen);
                    events.push((name, revision, push(&mut queue, user, revision)));
                }
            }
            for (user, revision, settled) in &mut events {
                let newer = queue.waiting().any(|state| state.user == *user && state.revision > *revision);
                let on_way = queue.under_way.get(user).is_some_and(|entry| entry.state.revision > *revision);
                if settled() == Some(Ok(())) {
                    prop_assert!(hub.get(user) >= Some(revision) || newer || on_way);
                }
            }
        }
        if let Some(states) = under_way {
            learn(&mut hub, states);
            queue.delivered();
        }
        while let Some(states) = queue.begin() {
            prop_assert!(states.len() <= MAX_STATES);
            learn(&mut hub, states);
            queue.delivered();
        }
        prop_assert_eq!(hub, newest);
    }
}

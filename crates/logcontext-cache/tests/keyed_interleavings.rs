//! The part of the keyed queues that has a synchronisation of its own, in every order in which threads can run.
//!
//! It is built here once more, from the same files, with loom's locks in place of the system's.

#![allow(dead_code, unreachable_pub, reason = "not all of it is used here")]

#[path = "../src/keyed/access.rs"]
mod access;
#[path = "../src/keyed/places.rs"]
mod places;
#[path = "../src/keyed/running.rs"]
mod running;
#[path = "../src/keyed/shard/mod.rs"]
mod shard;
#[path = "../src/keyed/slab.rs"]
mod slab;

#[path = "interleavings/sync.rs"]
mod sync;

use std::task::Waker;
use std::time::Duration;

use access::Access;
use logcontext::LogContext;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread;
use places::{Places, SeatAt};
use running::Running;
use sync::{model, waker};
use tokio::time::Instant;

type Queue = Places<u8>;

/// One shard: everybody meets.
fn queue(capacity: u32) -> Arc<Queue> {
    Arc::new(Places::new(1, capacity, Duration::MAX))
}

fn come(queue: &Queue, access: Access) -> (SeatAt, bool) {
    queue.arrive(1, access, true, LogContext::sentinel()).expect("a seat")
}

/// As a task does it: sleeps until it is woken. If nobody wakes it, loom finds a deadlock.
fn wait(queue: &Queue, seat: SeatAt) {
    while queue.poll(seat, &waker()).is_none() {
        thread::park();
    }
}

fn take(queue: &Queue, access: Access) -> SeatAt {
    let (seat, holds) = come(queue, access);
    if !holds {
        wait(queue, seat);
    }
    seat
}

#[track_caller]
fn assert_empty(queue: &Queue) {
    let (keys, holding, waiting, _) = queue.counts();
    assert_eq!((keys, holding, waiting), (0, 0, 0));
}

#[test]
fn one_at_a_time_and_everybody_is_woken() {
    model(|| {
        let (queue, inside) = (queue(1), Arc::new(AtomicUsize::new(0)));
        let body = |queue: &Queue, inside: &AtomicUsize| {
            let seat = take(queue, Access::Turn);
            assert_eq!(inside.fetch_add(1, SeqCst), 0);
            inside.fetch_sub(1, SeqCst);
            queue.release(seat);
        };
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (queue, inside) = (Arc::clone(&queue), Arc::clone(&inside));
                thread::spawn(move || body(&queue, &inside))
            })
            .collect();
        body(&queue, &inside);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_empty(&queue);
    });
}

#[test]
fn a_waiter_that_leaves_when_its_turn_comes_passes_it_on() {
    model(|| {
        let queue = queue(1);
        let holder = take(&queue, Access::Turn);
        let (first, _) = come(&queue, Access::Turn);
        let (second, _) = come(&queue, Access::Turn);
        assert!(queue.poll(first, Waker::noop()).is_none());
        let leaves = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || drop(queue.give_up(first)))
        };
        let waits = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                wait(&queue, second);
                queue.release(second);
            })
        };
        queue.release(holder);
        leaves.join().unwrap();
        waits.join().unwrap();
        assert_empty(&queue);
    });
}

#[test]
fn a_writer_that_leaves_lets_readers_go_whoever_else_moves() {
    model(|| {
        let queue = queue(u32::MAX);
        let reads = take(&queue, Access::Read);
        let (writer, _) = come(&queue, Access::Write);
        let (reader, _) = come(&queue, Access::Read);
        let leaves = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || drop(queue.give_up(writer)))
        };
        let waits = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                wait(&queue, reader);
                queue.release(reader);
            })
        };
        queue.release(reads);
        leaves.join().unwrap();
        waits.join().unwrap();
        assert_empty(&queue);
    });
}

#[test]
fn readers_and_a_writer_do_not_meet() {
    model(|| {
        let (queue, inside) = (queue(u32::MAX), Arc::new(AtomicUsize::new(0)));
        let read = |queue: &Queue, inside: &AtomicUsize| {
            let seat = take(queue, Access::Read);
            assert!(inside.fetch_add(1, SeqCst) < 100);
            inside.fetch_sub(1, SeqCst);
            queue.release(seat);
        };
        let reader = {
            let (queue, inside) = (Arc::clone(&queue), Arc::clone(&inside));
            thread::spawn(move || read(&queue, &inside))
        };
        let writer = {
            let (queue, inside) = (Arc::clone(&queue), Arc::clone(&inside));
            thread::spawn(move || {
                let seat = take(&queue, Access::Write);
                assert_eq!(inside.fetch_add(100, SeqCst), 0);
                inside.fetch_sub(100, SeqCst);
                queue.release(seat);
            })
        };
        read(&queue, &inside);
        reader.join().unwrap();
        writer.join().unwrap();
        assert_empty(&queue);
    });
}

#[test]
fn whoever_waits_is_watched_though_the_watch_was_about_to_end() {
    model(|| {
        let (queue, running) = (Arc::new(Places::<u8>::new(1, 1, Duration::from_secs(3600))), Running::new());
        let running = Arc::new(running);
        let holder = take(&queue, Access::Turn);
        assert!(running.begin());
        let watch = {
            let (queue, running) = (Arc::clone(&queue), Arc::clone(&running));
            thread::spawn(move || running.look(|| queue.overdue(Instant::now(), &mut Vec::new())).is_some())
        };
        let (waiter, _) = come(&queue, Access::Turn);
        let begun = !running.is_set() && running.begin();
        let goes_on = watch.join().unwrap();
        assert!(begun != goes_on, "watched by {} and {}", u8::from(begun), u8::from(goes_on));
        assert!(running.is_set());
        drop(queue.give_up(waiter));
        queue.release(holder);
    });
}

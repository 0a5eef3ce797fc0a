//! Readers and writers of a key.

mod support;

use logcontext_cache::{Access, KeyedRwLock};
use support::keyed::{at_once, context, on_both, poll_once, until};

#[track_caller]
fn assert_empty(lock: &KeyedRwLock<u64>) {
    assert_eq!(lock.keys_in_use(), 0);
    assert!(lock.holders().is_empty() && lock.waiting().is_empty());
}

#[test]
fn readers_share_a_key_and_a_writer_has_it_alone() {
    on_both(async |_| {
        let lock = KeyedRwLock::<u64>::new("purges");
        let readers = [at_once(lock.read(1)), at_once(lock.read(1)), lock.try_read(1).unwrap()];
        assert!(lock.try_write(1).is_none());
        let other = at_once(lock.write(2));
        assert!(lock.try_read(2).is_none() && lock.try_write(2).is_none());
        drop(other);
        let mut writer = lock.write(1);
        assert!(poll_once(&mut writer).is_pending());
        let [first, second, third] = readers;
        drop(second);
        drop(first);
        assert!(poll_once(&mut writer).is_pending(), "one still reads");
        drop(third);
        let writing = at_once(writer);
        let mut reader = lock.read(1);
        assert!(poll_once(&mut reader).is_pending());
        drop(writing);
        drop(at_once(reader));
        assert_empty(&lock);
    });
}

#[test]
fn a_reader_does_not_overtake_a_writer_who_waits() {
    on_both(async |_| {
        let lock = KeyedRwLock::<u64>::new("purges");
        let reading = at_once(lock.read(1));
        let (mut writer, mut late) = (lock.write(1), lock.read(1));
        assert!(poll_once(&mut writer).is_pending());
        assert!(poll_once(&mut late).is_pending());
        assert!(lock.try_read(1).is_none());
        drop(reading);
        assert!(poll_once(&mut late).is_pending());
        drop(at_once(writer));
        drop(at_once(late));
        assert_empty(&lock);
    });
}

#[test]
fn readers_that_meet_run_together_up_to_the_next_writer() {
    on_both(async |test| {
        let lock = KeyedRwLock::<u64>::new("purges");
        let writing = at_once(lock.write(1));
        // All of them are woken by one end, and are there at the same time.
        let together = std::sync::Arc::new(tokio::sync::Barrier::new(3));
        let mut readers = Vec::new();
        for _ in 0..3 {
            let (lock, together) = (lock.clone(), std::sync::Arc::clone(&together));
            readers.push(context(test, "reader").run_in_background(async move {
                let _reading = lock.read(1).await;
                together.wait().await;
            }));
        }
        until("they wait", || lock.waiting().len() == 3).await;
        let (mut writer, mut late) = (lock.write(1), lock.read(1));
        assert!(poll_once(&mut writer).is_pending());
        assert!(poll_once(&mut late).is_pending());
        drop(writing);
        assert!(poll_once(&mut late).is_pending());
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(poll_once(&mut late).is_pending());
        drop(at_once(writer));
        drop(at_once(late));
        assert_empty(&lock);
    });
}

#[test]
fn a_writer_that_is_cancelled_lets_the_readers_behind_it_go() {
    on_both(async |test| {
        let lock = KeyedRwLock::<u64>::new("purges");
        let reading = at_once(lock.read(1));
        let mut writer = lock.write(1);
        assert!(poll_once(&mut writer).is_pending());
        let behind = context(test, "behind").run_in_background({
            let lock = lock.clone();
            async move { drop(lock.read(1).await) }
        });
        until("it waits", || lock.waiting().len() == 2).await;
        drop(writer);
        // Woken, though nothing was given back.
        behind.await.unwrap();
        drop(reading);
        assert_empty(&lock);
    });
}

#[test]
fn a_writer_whose_turn_had_come_passes_it_on_when_it_is_cancelled() {
    on_both(async |test| {
        let lock = KeyedRwLock::<u64>::new("purges");
        let reading = at_once(lock.read(1));
        let mut writer = lock.write(1);
        assert!(poll_once(&mut writer).is_pending());
        let behind = context(test, "behind").run_in_background({
            let lock = lock.clone();
            async move { drop(lock.read(1).await) }
        });
        until("it waits", || lock.waiting().len() == 2).await;
        drop(reading);
        assert_eq!(lock.holders()[0].access, Access::Write);
        drop(writer);
        behind.await.unwrap();
        assert_empty(&lock);
    });
}

#[test]
fn it_says_who_reads_and_who_wants_to_write() {
    on_both(async |test| {
        let lock = KeyedRwLock::<u64>::new("purges");
        let (reader, writer) = (context(test, "reader"), context(test, "writer"));
        let reading = reader.scope(|| lock.try_read(7)).unwrap();
        let mut queued = lock.write(7);
        writer.scope(|| assert!(poll_once(&mut queued).is_pending()));
        let (holders, waiting) = (lock.holders(), lock.waiting());
        assert_eq!((holders.len(), waiting.len()), (1, 1));
        assert_eq!((holders[0].key, holders[0].access, &holders[0].context), (7, Access::Read, &reader));
        assert_eq!((waiting[0].key, waiting[0].access, &waiting[0].context), (7, Access::Write, &writer));
        assert_eq!(["turn", "read", "write"], [Access::Turn, Access::Read, Access::Write].map(Access::name));
        drop((reading, queued));
        assert_empty(&lock);
    });
}

//! The writer: its bounds, what it says of what was lost, its end.

mod common;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use common::{FOREVER, Gate, Kept, put};
use logcontext::source::{Buckets, Collector};
use logcontext::{LogContext, Supervisor};
use logcontext_tracing::{LogLayer, LogTarget, LogWriter, WhenFull, WriterOptions};
use tracing_subscriber::prelude::*;

/// Writes when it is told to, and not before: tests do not wait for time to pass.
fn patient() -> WriterOptions {
    LogWriter::options().linger(FOREVER)
}

fn at_once() -> WriterOptions {
    LogWriter::options().linger(Duration::ZERO)
}

fn figures(supervisor: &Supervisor) -> HashMap<String, f64> {
    struct Figures(HashMap<String, f64>);
    impl Collector for Figures {
        fn value(&mut self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
            assert_eq!(labels, [("target", "writer")]);
            self.0.insert(name.to_owned(), value);
        }

        fn histogram(&mut self, name: &'static str, _: &[(&'static str, &str)], _: &Buckets) {
            panic!("{name} is no histogram");
        }
    }
    let mut figures = Figures(HashMap::new());
    for source in supervisor.sources() {
        source.collect(&mut figures);
        assert_eq!(source.describe().len(), figures.0.len());
        assert!(source.describe().iter().all(|figure| figures.0.contains_key(figure.name)));
    }
    figures.0
}

#[test]
fn a_flush_waits_until_all_that_was_logged_is_written() {
    let kept = Kept::default();
    let writer = patient().start(LogTarget::writer(kept.clone())).unwrap();
    put(&writer, "one\n");
    put(&writer, "two\n");
    assert!(writer.flush());
    assert_eq!(kept.text(), "one\ntwo\n");
    assert_eq!((writer.written(), writer.dropped()), (2, 0));
    assert!(writer.flush(), "there is nothing left to wait for");
}

#[test]
fn a_flush_gives_up_on_a_target_that_hangs() {
    let gate = Gate::shut();
    let writer = at_once().start(LogTarget::writer(gate.clone())).unwrap();
    put(&writer, "one\n");
    assert!(!writer.flush_within(Duration::from_millis(1)));
    gate.open();
    assert!(writer.flush());
}

#[test]
fn records_are_written_together_and_the_writer_is_woken_once_for_many() {
    let supervisor = Supervisor::new("test");
    let before = supervisor.adopt_thread();
    struct Writes(Arc<AtomicUsize>);
    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.fetch_add(1, SeqCst);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let writes = Arc::new(AtomicUsize::new(0));
    let writer = patient().start(LogTarget::writer(Writes(Arc::clone(&writes)))).unwrap();
    for _ in 0..1_000 {
        put(&writer, "a record\n");
    }
    assert_eq!(figures(&supervisor)["log_writer_wake_ups"], 0.0, "it lingers from the start");
    assert!(writer.flush());
    assert_eq!(writes.load(SeqCst), 1);
    // None, if the thread had not come to lingering by then.
    assert!(figures(&supervisor)["log_writer_wake_ups"] <= 1.0);
    assert_eq!(figures(&supervisor)["log_records_written"], 1_000.0);
    before.adopt_thread();
}

#[test]
fn an_error_is_written_at_once_and_so_is_a_queue_that_fills_up() {
    struct Tell(mpsc::Sender<String>);
    impl Write for Tell {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8_lossy(bytes).into_owned()).unwrap();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (tell, told) = mpsc::channel();
    let writer = patient().max_records(10).start(LogTarget::writer(Tell(tell))).unwrap();
    let subscriber = tracing_subscriber::registry().with(LogLayer::text(writer.clone()));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("patient");
        tracing::error!("urgent");
        let batch = told.recv_timeout(FOREVER).unwrap();
        assert!(batch.contains("patient") && batch.contains("urgent"), "{batch}");
        for _ in 0..5 {
            tracing::info!("one of many");
        }
        assert!(told.recv_timeout(FOREVER).unwrap().contains("one of many"));
    });
}

#[test]
fn what_the_queue_has_no_room_for_is_dropped_counted_and_told() {
    let supervisor = Supervisor::new("test");
    let before = supervisor.adopt_thread();
    let gate = Gate::shut();
    let writer = at_once().max_records(2).json_notes().start(LogTarget::writer(gate.clone())).unwrap();
    put(&writer, "written\n");
    gate.wait_for_writer();
    for record in ["queued\n", "queued\n", "lost\n", "lost\n", "lost\n"] {
        put(&writer, record);
    }
    assert_eq!(writer.dropped(), 3);
    let shown = figures(&supervisor);
    assert_eq!((shown["log_queue_length"], shown["log_queue_bytes"]), (2.0, 14.0));
    gate.open();
    assert!(writer.flush());
    put(&writer, "after\n");
    assert!(writer.flush());
    let lines = gate.kept.lines();
    assert_eq!(lines[..3], ["written", "queued", "queued"]);
    let note = common::parse(&lines[3]);
    assert_eq!((&note["message"], &note["level"]), (&"3 log records dropped".into(), &"WARN".into()));
    assert_eq!(note["context"], "log_writer");
    assert_eq!(lines[4..], ["after"], "it is told once");
    let shown = figures(&supervisor);
    assert_eq!((shown["log_records_written"], shown["log_records_dropped"]), (4.0, 3.0));
    before.adopt_thread();
}

#[test]
fn the_queue_is_bounded_by_bytes_too_and_takes_a_record_longer_than_itself() {
    let gate = Gate::shut();
    let writer = at_once().max_bytes(10).start(LogTarget::writer(gate.clone())).unwrap();
    put(&writer, "written\n");
    gate.wait_for_writer();
    put(&writer, "longer than all of the queue\n");
    put(&writer, "lost\n");
    assert_eq!(writer.dropped(), 1);
    gate.open();
    assert!(writer.flush());
    let lines = gate.kept.lines();
    assert_eq!(lines[..2], ["written", "longer than all of the queue"]);
    assert!(
        lines[2].contains("WARN log_writer logcontext_tracing::writer: 1 log record dropped"),
        "{lines:?}"
    );
}

#[test]
fn where_nothing_may_be_lost_who_logs_waits_for_room() {
    let gate = Gate::shut();
    let options = at_once().max_records(1).when_full(WhenFull::Block);
    let writer = options.start(LogTarget::writer(gate.clone())).unwrap();
    put(&writer, "0\n");
    gate.wait_for_writer();
    let through = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
            scope.spawn(|| {
                for record in 0..100 {
                    put(&writer, &format!("{record}\n"));
                    through.fetch_add(1, SeqCst);
                }
            });
        }
        while through.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(through.load(SeqCst), 1, "there is room for one");
        gate.open();
    });
    assert!(writer.flush());
    assert_eq!(gate.kept.lines().len(), 401);
    assert_eq!((writer.written(), writer.dropped()), (401, 0));
}

#[test]
fn a_panicking_thread_does_not_wait_for_ever() {
    struct LogsWhenDropped<'a>(&'a LogWriter);
    impl Drop for LogsWhenDropped<'_> {
        fn drop(&mut self) {
            put(self.0, "last words\n");
        }
    }
    let gate = Gate::shut();
    let options = at_once().max_records(1).when_full(WhenFull::Block);
    let writer = options.start(LogTarget::writer(gate.clone())).unwrap();
    put(&writer, "0\n");
    gate.wait_for_writer();
    put(&writer, "1\n");
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _last = LogsWhenDropped(&writer);
        panic!("on purpose");
    }))
    .unwrap_err();
    assert_eq!(writer.dropped(), 1);
    gate.open();
}

#[test]
fn what_a_target_logs_while_it_writes_neither_blocks_nor_goes_on_for_ever() {
    struct Chatty(Arc<std::sync::OnceLock<LogWriter>>, Kept);
    impl Write for Chatty {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let writer = self.0.get().unwrap();
            for _ in 0..10 {
                put(writer, "about myself\n");
            }
            assert!(!writer.flush(), "it would wait for itself");
            self.1.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (itself, kept) = (Arc::new(std::sync::OnceLock::new()), Kept::default());
    let options = at_once().max_records(1).when_full(WhenFull::Block);
    let writer = options.start(LogTarget::writer(Chatty(Arc::clone(&itself), kept.clone()))).unwrap();
    itself.set(writer.clone()).unwrap();
    put(&writer, "one\n");
    assert!(writer.flush());
    assert_eq!(kept.text(), "one\n");
    assert_eq!(writer.dropped(), 10);
    drop(writer.guard());
    put(&writer, "two\n");
    assert_eq!(kept.text(), "one\ntwo\n", "the same without the thread");
}

/// Fails for as long as it is told to, having written so many bytes.
#[derive(Clone)]
struct Faulty {
    kept: Kept,
    fails: Arc<AtomicBool>,
    after: usize,
    panics: bool,
}

impl Faulty {
    fn new() -> Self {
        Self { kept: Kept::default(), fails: Arc::new(AtomicBool::new(true)), after: 0, panics: false }
    }
}

impl Write for Faulty {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.fails.load(SeqCst) {
            return self.kept.write(bytes);
        }
        if self.panics {
            panic!("on purpose");
        }
        match std::mem::take(&mut self.after).min(bytes.len()) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            some => self.kept.write(&bytes[..some]),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_target_that_fails_is_counted_and_tried_again() {
    for panics in [false, true] {
        let target = Faulty { panics, ..Faulty::new() };
        let writer = at_once().start(LogTarget::writer(target.clone())).unwrap();
        put(&writer, "lost\n");
        assert!(writer.flush(), "it is over and done with");
        assert_eq!((writer.written(), writer.dropped()), (0, 1));
        target.fails.store(false, SeqCst);
        put(&writer, "written\n");
        assert!(writer.flush());
        assert_eq!((writer.written(), writer.dropped()), (1, 1));
        let lines = target.kept.lines();
        assert_eq!(lines[0], "written");
        assert!(lines[1].ends_with("1 log record dropped"), "{lines:?}");
    }
}

#[test]
fn a_line_that_was_left_unfinished_does_not_spoil_the_next() {
    let target = Faulty { after: 7, ..Faulty::new() };
    let writer = patient().start(LogTarget::writer(target.clone())).unwrap();
    for record in ["one\n", "two\n", "three\n"] {
        put(&writer, record);
    }
    assert!(writer.flush());
    assert_eq!((writer.written(), writer.dropped()), (1, 2));
    target.fails.store(false, SeqCst);
    put(&writer, "four\n");
    assert!(writer.flush());
    assert!(target.kept.text().starts_with("one\ntwo\nfour\n"), "{}", target.kept.text());
}

#[test]
fn the_end_of_a_target_that_fails_comes_all_the_same() {
    let writer = at_once().start(LogTarget::writer(Faulty::new())).unwrap();
    put(&writer, "lost\n");
    drop(writer.guard());
    put(&writer, "lost too\n");
    assert_eq!((writer.written(), writer.dropped()), (0, 2));
}

#[test]
fn the_guard_writes_what_there_is_and_later_records_are_written_by_whoever_logs_them() {
    let kept = Kept::default();
    let writer = patient().start(LogTarget::writer(kept.clone())).unwrap();
    let guard = writer.guard();
    put(&writer, "queued\n");
    drop(guard);
    assert_eq!(kept.text(), "queued\n");
    put(&writer, "late\n");
    assert_eq!(kept.text(), "queued\nlate\n");
    assert_eq!(writer.written(), 2);
    assert!(writer.flush());
}

#[test]
fn the_last_handle_writes_what_there_is() {
    let kept = Kept::default();
    let writer = patient().start(LogTarget::writer(kept.clone())).unwrap();
    put(&writer, "queued\n");
    drop(writer);
    assert_eq!(kept.text(), "queued\n");
}

#[test]
fn what_was_lost_at_the_end_is_told_as_well() {
    let gate = Gate::shut();
    let writer = at_once().max_records(1).start(LogTarget::writer(gate.clone())).unwrap();
    put(&writer, "written\n");
    gate.wait_for_writer();
    put(&writer, "queued\n");
    put(&writer, "lost\n");
    gate.open();
    drop(writer);
    let lines = gate.kept.lines();
    assert_eq!(lines.len(), 3);
    assert!(lines[2].ends_with("1 log record dropped"), "{lines:?}");
}

#[test]
fn a_file_that_was_renamed_is_opened_again() {
    let folder = std::env::temp_dir().join(format!("logcontext-tracing-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, old) = (folder.join("log"), folder.join("log.1"));
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default();
    std::fs::write(&path, "before\n").unwrap();

    let writer = patient().start(LogTarget::file(&path)).unwrap();
    put(&writer, "one\n");
    assert!(writer.flush());
    std::fs::rename(&path, &old).unwrap();
    put(&writer, "two\n");
    assert!(writer.flush());
    writer.reopen().unwrap();
    put(&writer, "three\n");
    assert!(writer.flush());
    assert_eq!((read(&old), read(&path)), ("before\none\ntwo\n".to_owned(), "three\n".to_owned()));

    drop(writer.guard());
    std::fs::rename(&path, &old).unwrap();
    writer.reopen().unwrap();
    put(&writer, "four\n");
    assert_eq!((read(&old), read(&path)), ("three\n".to_owned(), "four\n".to_owned()));

    std::fs::remove_dir_all(&folder).unwrap();
    writer.reopen().unwrap_err();
    put(&writer, "five\n");
    assert_eq!(writer.written(), 5, "it goes on with the file that it has");
}

#[test]
fn a_target_that_cannot_be_opened_is_an_error_at_the_start() {
    let error = LogWriter::start(LogTarget::file("/nowhere/at/all/log")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn the_writers_cpu_is_charged_to_a_context_of_its_own() {
    /// Burns until the thread's clock has moved.
    struct Burns;
    impl Write for Burns {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let context = logcontext::current_context();
            assert_eq!(context.name(), "log_writer");
            let before = context.usage();
            let start = Instant::now();
            while context.usage().cpu().is_some() && context.usage().cpu() == before.cpu() {
                assert!(start.elapsed() < FOREVER);
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let test = logcontext::testing::start();
    let writer = patient().start(LogTarget::writer(Burns)).unwrap();
    let totals = || {
        let totals = test.supervisor().totals();
        totals.into_iter().find(|totals| totals.label.as_deref() == Some("log_writer")).unwrap()
    };
    assert_eq!((totals().started, totals().in_flight), (1, 1));
    LogContext::new("GET-17").scope(|| put(&writer, "a record\n"));
    assert!(writer.flush());
    assert!(totals().usage.cpu() > Some(Duration::ZERO) || totals().usage.cpu().is_none());
    drop(writer.guard());
}

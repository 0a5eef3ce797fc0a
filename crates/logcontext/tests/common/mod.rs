//! What the behaviour tests share.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]

pub mod nested;

use std::future::Future;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use logcontext::bench::thread_cpu_nanos;
use logcontext::testing::{Record, Test};
use logcontext::{LogContext, current_context};

/// From now on a panic prints its message and no more: with `RUST_BACKTRACE` set, the backtrace of one that a test
/// makes on purpose would be the largest thing on some context's bill.
pub fn short_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| eprintln!("{info}")));
        // A process's first unwinding reads tables for some milliseconds: not on some context's bill either.
        let _ = catch_unwind(|| std::panic::resume_unwind(Box::new(())));
    });
}

/// Burns CPU until the thread's own clock has advanced by so much; answers by how much it has. Nothing where threads
/// have no clock.
pub fn burn(nanos: u64) -> u64 {
    let Some(start) = thread_cpu_nanos() else { return 0 };
    loop {
        let burned = thread_cpu_nanos().unwrap_or(u64::MAX) - start;
        if burned >= nanos {
            TOO_MUCH.fetch_add(burned - nanos, Relaxed);
            return burned;
        }
        for i in 0..20 {
            black_box(i);
        }
    }
}

/// By how much the clocks of threads went too far in [`burn`], in nanoseconds: nearly nothing, until the machine does
/// something else on their account.
static TOO_MUCH: AtomicU64 = AtomicU64::new(0);

/// Long enough to tell from the little that a test burns besides.
pub const BURST: u64 = 4_000_000;

/// The context was charged so many bursts of [`BURST`].
#[track_caller]
pub fn assert_bursts(context: &LogContext, bursts: u64) {
    let Some(cpu) = context.usage().cpu() else { return };
    let charged = cpu.as_nanos() as f64 / BURST as f64;
    let expected = bursts as f64;
    let too_much = TOO_MUCH.load(Relaxed) as f64 / BURST as f64;
    assert!(
        (expected - 0.1..expected + 0.4 + too_much).contains(&charged),
        "{context}: {charged:.2} bursts, not {bursts}; {too_much:.2} at most were burned by chance"
    );
}

/// The same where a panic is on the bill as well, which costs what it costs.
#[track_caller]
pub fn assert_bursts_and_a_panic(context: &LogContext, bursts: u64) {
    let Some(cpu) = context.usage().cpu() else { return };
    let charged = cpu.as_nanos() as f64 / BURST as f64;
    assert!(charged > bursts as f64 - 0.1, "{context}: {charged:.2} bursts, not {bursts}");
}

/// The name of the current context.
pub fn here() -> String {
    current_context().name().to_owned()
}

/// Where contexts were seen, in order.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// Notes the current context.
    pub fn note(&self) {
        self.0.lock().unwrap().push(here());
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Notes the current context, and burns one burst in it, when it is dropped.
    pub fn on_drop(&self) -> OnDrop<impl FnOnce() + Send + use<>> {
        let seen = self.clone();
        OnDrop::new(move || {
            seen.note();
            burn(BURST);
        })
    }
}

/// Calls a closure when it is dropped.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub fn new(f: F) -> Self {
        short_panics();
        Self(Some(f))
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// Polls once, without anyone to wake.
pub fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Pending once, then ready; asks to be polled again.
pub fn once_pending() -> impl Future<Output = ()> {
    let mut polled = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The message of the panic in `f`.
#[track_caller]
pub fn panic_message(f: impl FnOnce()) -> String {
    short_panics();
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it should panic");
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// The line this is called from, as records show it.
#[track_caller]
pub fn line(offset: i64) -> String {
    let here = Location::caller();
    format!("{}:{}:", here.file(), i64::from(here.line()) + offset)
}

/// The field names a place in code at this line.
#[track_caller]
pub fn assert_at(record: &Record, field: &str, line: &str) {
    let found = record.field(field).unwrap_or_else(|| panic!("no {field} in {record:?}"));
    assert!(found.starts_with(line), "{field} is {found}, not {line}");
}

#[cfg(feature = "tokio")]
mod runtimes {
    use std::future::Future;
    use std::time::Duration;

    use logcontext::testing::{self, Test};
    use tokio::runtime::Runtime;

    /// The test on a current-thread runtime and on one with two workers, each with a guard of its own.
    pub fn on_both(f: impl Fn(&Runtime, &Test)) {
        super::short_panics();
        {
            let test = testing::start();
            let runtime = test.current_thread();
            f(&runtime, &test);
        }
        let test = testing::start();
        let runtime = test.multi_thread(2);
        f(&runtime, &test);
    }

    /// Runs it to its end as a task, so that on several workers it moves between them.
    #[track_caller]
    pub fn run<F>(runtime: &Runtime, future: F) -> F::Output
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        #[expect(clippy::disallowed_methods, reason = "what is tested brings its contexts")]
        let task = runtime.spawn(future);
        // Nothing here takes so long: a test that hangs is one that fails.
        let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), task).await });
        match ended.expect("the test hangs") {
            Ok(output) => output,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Runs it with the clock paused: time moves when nothing else does.
    pub fn paused<F: Future>(f: impl FnOnce(&Test) -> F) {
        let test = testing::start();
        let runtime = test.current_thread();
        let future = f(&test);
        runtime.block_on(async {
            tokio::time::pause();
            future.await;
        });
    }
}

#[cfg(feature = "tokio")]
pub use runtimes::{on_both, paused, run};

/// Runs it on a thread of the test's, until it says that it is over.
pub fn thread<'scope, R: Send + 'scope>(
    test: &Test,
    threads: &'scope std::thread::Scope<'scope, '_>,
    f: impl FnOnce() -> R + Send + 'scope,
) -> std::thread::ScopedJoinHandle<'scope, R> {
    let start = test.thread_start();
    #[expect(clippy::disallowed_methods, reason = "it needs no context of its caller")]
    threads.spawn(move || {
        start();
        f()
    })
}

//! What the tests of caches share.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its part")]

pub mod figures;
pub mod keyed;

use std::future::Future;
use std::hint::black_box;
use std::sync::Once;
use std::time::Duration;

use logcontext::bench::thread_cpu_nanos;
use logcontext::testing::{self, Test};
use logcontext::{Background, LogContext, current_context};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

/// Nothing here takes so long: a test that hangs is one that fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// From now on a panic prints its message and no more: with `RUST_BACKTRACE` set, the backtrace of one that a test makes
/// on purpose would be the largest thing on some context's bill.
pub fn short_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| std::panic::set_hook(Box::new(|info| eprintln!("{info}"))));
}

/// The test on a current-thread runtime and on one with two workers, each with a guard of its own.
pub fn on_both(f: impl Fn(&Runtime, &Test)) {
    short_panics();
    {
        let test = testing::start();
        let runtime = test.current_thread();
        f(&runtime, &test);
        drop(runtime);
        nothing_is_left(&test);
    }
    let test = testing::start();
    let runtime = test.multi_thread(2);
    f(&runtime, &test);
    drop(runtime);
    nothing_is_left(&test);
}

/// Neither tasks, nor contexts, nor sources of figures.
#[track_caller]
pub fn nothing_is_left(test: &Test) {
    let supervisor = test.supervisor();
    assert!(supervisor.running().is_empty(), "{:?}", supervisor.running());
    let mut left = supervisor.contexts();
    // The test's own records hold the contexts that they were written in.
    for record in test.records() {
        left.retain(|context| *context != record.context && *context != record.context.parent());
    }
    assert!(left.is_empty(), "{left:?}");
    assert!(supervisor.sources().is_empty());
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
    let ended = runtime.block_on(async { tokio::time::timeout(DEADLINE, task).await });
    match ended.expect("the test hangs") {
        Ok(output) => output,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Runs it with the clock paused: time moves when nothing else does.
pub fn paused<F: Future>(f: impl FnOnce(&Test) -> F) {
    short_panics();
    let test = testing::start();
    let runtime = test.current_thread();
    let future = f(&test);
    runtime.block_on(async {
        tokio::time::pause();
        future.await;
    });
    drop(runtime);
    nothing_is_left(&test);
}

/// The name of the current context.
pub fn here() -> String {
    current_context().name().to_owned()
}

/// A future in the background, whose result is nobody's failure.
pub fn spawn<T: Send + 'static>(
    context: &LogContext,
    future: impl Future<Output = T> + Send + 'static,
) -> Background<Vec<T>> {
    context.run_in_background(async move { vec![future.await] })
}

/// What became of it.
pub async fn outcome<T>(running: Background<Vec<T>>) -> T {
    let ended = tokio::time::timeout(DEADLINE, running).await.expect("it ends");
    ended.expect("neither panicked nor aborted").pop().expect("put there by `spawn`")
}

/// Burns CPU until the thread's own clock has advanced by so much.
pub fn burn(nanos: u64) {
    let Some(start) = thread_cpu_nanos() else { return };
    while thread_cpu_nanos().unwrap_or(u64::MAX) - start < nanos {
        (0..20).for_each(|i| {
            black_box(i);
        });
    }
}

/// Long enough to tell from the little that a test burns besides.
pub const BURST: u64 = 4_000_000;

/// The context was charged about so many bursts.
#[track_caller]
pub fn assert_bursts(context: &LogContext, bursts: f64) {
    let Some(cpu) = context.usage().cpu() else { return };
    let charged = cpu.as_nanos() as f64 / BURST as f64;
    assert!((bursts - 0.1..bursts + 0.4).contains(&charged), "{context}: {charged:.2} bursts, not {bursts}");
}

/// One question that a lookup was asked, in this context, and how to answer it.
pub struct Asked<T> {
    pub key: u32,
    pub context: String,
    pub answer: oneshot::Sender<T>,
}

/// A lookup that is answered by the test.
pub struct Desk<T> {
    tell: mpsc::UnboundedSender<Asked<T>>,
    told: mpsc::UnboundedReceiver<Asked<T>>,
}

impl<T: Send + 'static> Desk<T> {
    pub fn new() -> Self {
        let (tell, told) = mpsc::unbounded_channel();
        Self { tell, told }
    }

    /// What to give to a cache: asks the test, and burns nothing.
    pub fn lookup(
        &self,
    ) -> impl Fn(u32) -> std::pin::Pin<Box<dyn Future<Output = T> + Send>> + Send + Sync + Clone + use<T>
    {
        let tell = self.tell.clone();
        move |key| {
            let tell = tell.clone();
            Box::pin(async move {
                let (answer, answered) = oneshot::channel();
                tell.send(Asked { key, context: here(), answer }).map_err(drop).expect("the test listens");
                answered.await.expect("the test answers")
            })
        }
    }

    /// The next question.
    pub async fn next(&mut self) -> Asked<T> {
        tokio::time::timeout(DEADLINE, self.told.recv()).await.expect("asked in time").expect("open")
    }

    /// Nothing was asked that has not been taken.
    #[track_caller]
    pub fn assert_idle(&mut self) {
        assert!(self.told.try_recv().is_err(), "asked once more than it should be");
    }
}

/// Lets everything run that can.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Waits until it is so, letting others run.
pub async fn until(what: impl Fn() -> bool) {
    let so = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, so).await.expect("it becomes so");
}

//! [`DriverThread`]: a thread of some library that works for one context after the other, and says for whom.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::ThreadClock;
use crate::context::LogContext;
use crate::meter;

/// A thread that runs commands for others: SQLite's, behind an async driver. Whoever sends the commands knows
/// whose they are, and charges the thread's CPU to them: from outside, by its clock.
///
/// Contexts that are entered on such a thread (by a span that carries one) show on its log lines, and are charged
/// nothing there: otherwise the CPU would be charged twice.
///
/// ```
/// use logcontext::{DriverThread, LogContext};
/// use std::sync::mpsc::channel;
///
/// let (tell, told) = channel();
/// let (stop, stopped) = channel::<()>();
/// # #[allow(clippy::disallowed_methods)]
/// let thread = std::thread::spawn(move || {
///     tell.send(DriverThread::register()).unwrap();
///     (0..1_000_000).map(std::hint::black_box).sum::<u64>(); // a statement of the request's
///     stopped.recv().ok();
/// });
/// let driver = told.recv().unwrap();
///
/// let request = LogContext::new("GET-17");
/// let charged = driver.charge(&request);
/// assert!(charged.is_none() || request.usage().cpu() >= charged);
/// drop(stop);
/// thread.join().unwrap();
/// ```
#[derive(Debug)]
pub struct DriverThread {
    clock: ThreadClock,
    /// What has been charged so far, to anyone, in nanoseconds.
    charged: AtomicU64,
    /// A thread that was metered before goes on being so: then nothing is charged from outside.
    is_driver: bool,
}

impl DriverThread {
    /// Makes the calling thread one, before it has entered any context. What it has burned so far is nobody's.
    pub fn register() -> Self {
        let is_driver = meter::become_driver();
        let clock = ThreadClock::current();
        Self { clock, charged: AtomicU64::new(clock.read().unwrap_or(0)), is_driver }
    }

    /// The same for a thread that was started to be one: what it has burned so far is charged with the rest.
    ///
    /// ```
    /// use logcontext::{DriverThread, LogContext};
    /// use std::sync::mpsc::channel;
    ///
    /// let (tell, told) = channel();
    /// let (stop, stopped) = channel::<()>();
    /// # #[allow(clippy::disallowed_methods)]
    /// let thread = std::thread::spawn(move || {
    ///     (0..1_000_000).map(std::hint::black_box).sum::<u64>(); // opening what it is for
    ///     tell.send(DriverThread::register_from_start()).unwrap();
    ///     stopped.recv().ok();
    /// });
    /// let driver = told.recv().unwrap();
    ///
    /// let request = LogContext::new("GET-17");
    /// let charged = driver.charge(&request);
    /// assert!(charged.is_none_or(|charged| !charged.is_zero()));
    /// drop(stop);
    /// thread.join().unwrap();
    /// ```
    pub fn register_from_start() -> Self {
        Self { charged: AtomicU64::new(0), ..Self::register() }
    }

    /// Charges all CPU that the thread has used since this was last called to `context`, and says how much that
    /// was. `None` where it cannot be measured: no CPU clock for threads, or the thread has ended.
    ///
    /// In the sentinel it is forgotten: the books show it among the threads that know no contexts.
    pub fn charge(&self, context: &LogContext) -> Option<Duration> {
        if !self.is_driver {
            return None;
        }
        let now = self.clock.read()?;
        // A swap, so that two who call at once do not charge the same.
        let before = self.charged.fetch_max(now, Relaxed);
        let cpu = Duration::from_nanos(now.saturating_sub(before));
        context.charge_cpu(cpu);
        Some(cpu)
    }
}

#[cfg(all(test, target_os = "linux", not(logcontext_no_cpu_clock)))]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::JoinHandle;

    use super::*;
    use crate::clock;
    use crate::testing;

    struct Driven {
        driver: DriverThread,
        commands: Sender<Box<dyn FnOnce() + Send>>,
        done: Receiver<()>,
        thread: JoinHandle<()>,
    }

    impl Driven {
        fn start() -> Self {
            let (commands, queue) = channel::<Box<dyn FnOnce() + Send>>();
            let (tell, told) = channel();
            let (done, is_done) = channel();
            #[expect(clippy::disallowed_methods, reason = "a thread of somebody else's is what is tested")]
            let thread = std::thread::spawn(move || {
                tell.send(DriverThread::register()).unwrap();
                for command in queue {
                    command();
                    done.send(()).unwrap();
                }
            });
            Self { driver: told.recv().unwrap(), commands, done: is_done, thread }
        }

        fn run(&self, command: impl FnOnce() + Send + 'static) {
            self.commands.send(Box::new(command)).unwrap();
            self.done.recv().unwrap();
        }

        fn end(self) {
            drop(self.commands);
            self.thread.join().unwrap();
        }
    }

    fn burn(nanos: u64) {
        let start = clock::thread_cpu().unwrap();
        while clock::thread_cpu().unwrap() - start < nanos {}
    }

    const BURNED: Duration = Duration::from_millis(20);

    #[test]
    fn its_cpu_is_charged_once_to_whom_it_worked_for() {
        let _test = testing::start();
        let driven = Driven::start();
        let (first, second) = (LogContext::new("first"), LogContext::new("second"));
        driven.run(|| burn(20_000_000));
        assert!(driven.driver.charge(&first).unwrap() >= BURNED);
        assert!(first.usage().cpu().unwrap() >= BURNED);
        assert!(driven.driver.charge(&second).unwrap() < BURNED / 10);
        driven.end();
    }

    #[test]
    fn what_it_burned_before_is_charged_where_it_was_started_for_this() {
        let _test = testing::start();
        for from_start in [false, true] {
            let (tell, told) = channel();
            let (stop, stopped) = channel::<()>();
            #[expect(clippy::disallowed_methods, reason = "a thread of somebody else's is what is tested")]
            let thread = std::thread::spawn(move || {
                burn(20_000_000);
                let register =
                    if from_start { DriverThread::register_from_start } else { DriverThread::register };
                tell.send(register()).unwrap();
                let _ = stopped.recv();
            });
            let driver = told.recv().unwrap();
            let charged = driver.charge(&LogContext::new("opener")).unwrap();
            assert_eq!(charged >= BURNED, from_start, "{charged:?}");
            drop(stop);
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_context_entered_there_shows_and_is_charged_nothing() {
        let _test = testing::start();
        let driven = Driven::start();
        let context = LogContext::new("statement");
        let inside = context.clone();
        driven.run(move || {
            inside.scope(|| {
                assert_eq!(crate::current_context(), inside);
                burn(20_000_000);
            });
            assert!(crate::current_context().is_sentinel());
        });
        assert_eq!(context.usage().cpu(), Some(Duration::ZERO));
        let charged = driven.driver.charge(&context).unwrap();
        assert_eq!(context.usage().cpu(), Some(charged));
        assert!(charged >= BURNED);
        driven.end();
    }

    #[test]
    fn the_books_know_it_from_both_sides() {
        let _test = testing::start();
        let driven = Driven::start();
        let context = LogContext::new("statement");
        driven.run(|| burn(20_000_000));
        driven.driver.charge(&context).unwrap();
        let books = crate::books().unwrap();
        assert!(books.foreign_threads_cpu() >= BURNED);
        driven.end();
    }

    #[test]
    fn a_thread_that_is_metered_already_is_not_charged_from_outside() {
        let _test = testing::start();
        LogContext::new("metered").scope(|| ());
        let driver = DriverThread::register();
        assert_eq!(driver.charge(&LogContext::new("other")), None);
    }
}

//! [`Thread`]: the driver's thread of one connection, and who pays for what it burns, from its start to its end.

use std::sync::{Arc, OnceLock};

use logcontext::{DriverThread, LogContext, current_context};

use crate::connection::Counted;

/// The connection's side of it. Once this is dropped, the thread ends; what that burns is paid by the context in which
/// it was dropped, if not by another one that has said so.
#[derive(Default)]
pub(super) struct Thread(Arc<Account>);

/// SQLite's side: dropped by SQLite itself, when it has closed the files.
pub(super) struct Inside {
    account: Arc<Account>,
    _counted: Counted,
}

#[derive(Default)]
struct Account {
    driver: OnceLock<DriverThread>,
    /// Who pays for the end.
    ender: OnceLock<LogContext>,
}

impl Thread {
    pub(super) fn inside(&self, counted: Counted) -> Inside {
        Inside { account: Arc::clone(&self.0), _counted: counted }
    }

    /// Charges what it has burned since this was last called.
    pub(super) fn charge(&self, context: &LogContext) {
        if let Some(driver) = self.0.driver.get() {
            driver.charge(context);
        }
    }

    /// It is about to end, for this context.
    pub(super) fn ends_for(&self, context: &LogContext) {
        self.0.ender.get_or_init(|| context.clone());
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.ends_for(&current_context());
    }
}

impl Inside {
    /// Called on the thread.
    pub(super) fn register(&self) {
        self.account.driver.get_or_init(DriverThread::register_from_start);
    }
}

/// The last that is ours and runs on the thread: what follows is its way out, some microseconds.
impl Drop for Inside {
    fn drop(&mut self) {
        if let (Some(driver), Some(ender)) = (self.account.driver.get(), self.account.ender.get()) {
            driver.charge(ender);
        }
    }
}

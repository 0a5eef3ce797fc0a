//! Does the calling thread run an executor that a long poll would keep from its other work?

use std::cell::Cell;

thread_local! {
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// Is a long poll here worth a report?
pub(crate) fn is_here() -> bool {
    #[cfg(feature = "tokio")]
    let inside = tokio::runtime::Handle::try_current().is_ok();
    #[cfg(not(feature = "tokio"))]
    let inside = true;
    inside && !MAY_BLOCK.get()
}

/// Runs `f` where it may block: on a thread that is there for it.
#[cfg(feature = "tokio")]
pub(crate) fn may_block<R>(f: impl FnOnce() -> R) -> R {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            MAY_BLOCK.set(self.0);
        }
    }
    let _back = Back(MAY_BLOCK.replace(true));
    f()
}

//! Which interactions are being polled on this thread: one that asks for a connection from inside of another one's
//! closure may wait for what only that one can give back.

use std::cell::RefCell;
use std::panic::Location;

use logcontext::LogContext;
use logcontext::diagnostics::{DiagnosticKind, Report};

use crate::pool::Pool;

thread_local! {
    /// Those whose closures are being polled, the innermost last. Each holds a connection of its pool meanwhile, and
    /// gives it back when its closure has returned. Nearly always none.
    static POLLED: RefCell<Vec<Polled>> = const { RefCell::new(Vec::new()) };
}

#[derive(Clone, Copy)]
struct Polled {
    /// The pool, by its address: it lives as long as this.
    pool: usize,
    name: &'static str,
}

struct Leave;

/// Polls the closure of the interaction of this name, which holds a connection of this pool.
pub(super) fn inside<R>(pool: &Pool, name: &'static str, poll: impl FnOnce() -> R) -> R {
    POLLED.with_borrow_mut(|polled| polled.push(Polled { pool: address(pool), name }));
    let _leave = Leave;
    poll()
}

/// How many connections of this pool are held by interactions that we are inside of, and the innermost one's name.
pub(crate) fn held_around(pool: &Pool) -> Option<(usize, &'static str)> {
    POLLED.with_borrow(|polled| {
        if polled.is_empty() {
            return None;
        }
        let mut around = polled.iter().rev().filter(|polled| polled.pool == address(pool));
        let innermost = around.next()?.name;
        Some((1 + around.count(), innermost))
    })
}

/// A transaction is about to take a connection of this pool. If it does so inside of another one that has one, that
/// raises a diagnostic; where it must wait for that one, the pool makes it an error instead.
pub(crate) fn look_around(
    pool: &Pool,
    context: &LogContext,
    name: &'static str,
    origin: &'static Location<'static>,
) {
    if let Some((held, outer)) = held_around(pool)
        && held < pool.capacity()
    {
        let detail = format!("`{name}` inside of `{outer}`");
        Report::new(DiagnosticKind::TransactionInside, context).origin(origin).detail(&detail).raise();
    }
}

fn address(pool: &Pool) -> usize {
    std::ptr::from_ref(pool).addr()
}

impl Drop for Leave {
    fn drop(&mut self) {
        POLLED.with_borrow_mut(Vec::pop);
    }
}

//! After a fork the child's clocks and books start anew.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "fork has no safe form")]

mod common;

use common::burn;
use logcontext::{LogContext, after_fork, books};

/// What the child finds wrong; 0 is nothing.
fn in_the_child(before: &LogContext) -> i32 {
    after_fork();
    let after = LogContext::new("after the fork");
    after.scope(|| burn(20_000_000));
    let Some(books) = books() else { return 1 };
    if !(19..40).contains(&books.contexts().as_millis()) {
        return 2;
    }
    if books.discrepancy_percent().abs() > 0.1 {
        return 3;
    }
    if books.process().as_millis() > 60 || books.unaccounted_percent() > 20.0 {
        return 4;
    }
    // What it knew before is still what the parent charged.
    if before.usage().cpu().is_none_or(|cpu| cpu.as_millis() < 50) {
        return 5;
    }
    0
}

#[test]
fn clocks_and_books_start_anew_in_the_child() {
    let before = LogContext::new("before the fork");
    before.scope(|| burn(50_000_000));
    // SAFETY: the only other thread waits for this one, so no lock is held by anyone; the child leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let wrong = in_the_child(&before);
        // SAFETY: ends the process at once; nothing of the parent's is flushed or dropped a second time.
        unsafe { libc::_exit(wrong) };
    }
    assert!(child > 0, "the system refuses a fork");
    let mut status = 0;
    // SAFETY: waits for our own child; the pointer is to a local.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child says {status:#x}");
}

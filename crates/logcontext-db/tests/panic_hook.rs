//! Panics in a process whose panic hook reports them: once. A binary of its own, for the hook is the process's.

mod common;

use std::task::Poll;

use common::Own;
use logcontext_db::{Error, Migration};
use tracing::Level;

#[test]
fn a_panic_that_the_hook_has_reported_is_reported_by_nobody_else() {
    std::panic::set_hook(Box::new(logcontext::report_panic));
    common::run(Own::sqlite, async |own, setting| {
        let db = own
            .builder()
            .migrations([Migration::new(1, "t", "CREATE TABLE t (i BIGINT)")])
            .open()
            .await
            .unwrap();
        let reported = || {
            let records = setting.test.records_at(Level::ERROR);
            records.iter().filter(|record| record.context == setting.context).count()
        };
        // In the closure: it goes on to the caller, who knows.
        let mut panicking = Box::pin(db.run_interaction("panic", |mut txn| async move {
            txn.execute("INSERT INTO t VALUES (1)", ()).await?;
            if txn.name() == "panic" { panic!("no") } else { Ok::<(), Error>(()) }
        }));
        let panic =
            std::future::poll_fn(|cx| match logcontext::catch_panic(|| panicking.as_mut().poll(cx)) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(_)) => unreachable!("it panics"),
                Err(panic) => Poll::Ready(panic),
            })
            .await;
        assert!(panic.is_reported());
        assert_eq!(reported(), 1);
        assert!(db.query("all", "SELECT * FROM t", ()).await.unwrap().is_empty());

        // In a callback.
        db.run_interaction("callback", |txn| async move {
            txn.after_commit(|| panic!("no"));
            Ok::<(), Error>(())
        })
        .await
        .unwrap();
        assert_eq!(reported(), 2);

        // Nobody hears of it any more.
        drop(panicking);
        assert_eq!(reported(), 2);
        db.close(common::DEADLINE).await;
    });
}

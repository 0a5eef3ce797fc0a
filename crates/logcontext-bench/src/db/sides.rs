//! The three sides, for whichever driver.

/// Fills a database with users. The table must not be there yet.
macro_rules! fill {
    ($connection:expr) => {
        async {
            let connection: &mut _ = $connection;
            sqlx::query(TABLE).execute(&mut *connection).await?;
            for id in 0..USERS {
                let name = format!("user {id}");
                sqlx::query(INSERT).bind(id).bind(name).execute(&mut *connection).await?;
            }
            Ok::<(), sqlx::Error>(())
        }
        .await
    };
}
pub(super) use fill;

/// Measures a connection, the same in a context, our database and a pool of sqlx's, each with a database of its own that is filled. All three
/// say `BEGIN` in the same words.
macro_rules! measure {
    ($runtimes:expr, $rounds:expr, $begin:expr, $bare:expr, $ours:expr, $pool:expr) => {{
        let begin: &'static str = $begin;
        let [bare_runtime, ours_runtime, pool_runtime]: &[tokio::runtime::Runtime; 3] = $runtimes;
        let mut next = 0;
        let id = move || {
            next = (next + 1) % USERS;
            next
        };
        let (mut bare_id, mut ours_id, mut pool_id, mut inside_id) = (id, id, id, id);
        let (bare, ours, pool) = (std::cell::RefCell::new(&mut $bare), &$ours, &$pool);

        let query = crate::rounds::in_turn_by_cpu(
            $rounds,
            CALLS,
            [
                &mut |n| {
                    let bare = &mut **bare.borrow_mut();
                    bare_runtime.block_on(async {
                        for _ in 0..n {
                            let row = sqlx::query(SELECT).bind(bare_id()).fetch_optional(&mut *bare).await;
                            assert!(black_box(row).expect("a row").is_some());
                        }
                    });
                },
                &mut |n| {
                    let bare = &mut **bare.borrow_mut();
                    let request = LogContext::builder("GET-1").label("bench").start();
                    bare_runtime.block_on(
                        async {
                            for _ in 0..n {
                                let row =
                                    sqlx::query(SELECT).bind(inside_id()).fetch_optional(&mut *bare).await;
                                assert!(black_box(row).expect("a row").is_some());
                            }
                        }
                        .in_context(request.clone()),
                    );
                    request.finish();
                },
                &mut |n| {
                    let request = LogContext::builder("GET-1").label("bench").start();
                    ours_runtime.block_on(
                        async {
                            for _ in 0..n {
                                let row = ours.query_optional("get_user", SELECT, (ours_id(),)).await;
                                assert!(black_box(row).expect("a row").is_some());
                            }
                        }
                        .in_context(request.clone()),
                    );
                    request.finish();
                },
                &mut |n| {
                    pool_runtime.block_on(async {
                        for _ in 0..n {
                            let row = sqlx::query(SELECT).bind(pool_id()).fetch_optional(pool).await;
                            assert!(black_box(row).expect("a row").is_some());
                        }
                    });
                },
            ],
        );

        let write = crate::rounds::in_turn_by_cpu(
            $rounds,
            CALLS,
            [
                &mut |n| {
                    let bare = &mut **bare.borrow_mut();
                    bare_runtime.block_on(async {
                        for _ in 0..n {
                            let mut txn = bare.begin_with(begin).await.expect("a transaction");
                            let update = sqlx::query(UPDATE).bind("online").bind(bare_id());
                            update.execute(&mut *txn).await.expect("an update");
                            txn.commit().await.expect("a commit");
                        }
                    });
                },
                &mut |n| {
                    let bare = &mut **bare.borrow_mut();
                    let request = LogContext::builder("PUT-1").label("bench").start();
                    bare_runtime.block_on(
                        async {
                            for _ in 0..n {
                                let mut txn = bare.begin_with(begin).await.expect("a transaction");
                                let update = sqlx::query(UPDATE).bind("online").bind(inside_id());
                                update.execute(&mut *txn).await.expect("an update");
                                txn.commit().await.expect("a commit");
                            }
                        }
                        .in_context(request.clone()),
                    );
                    request.finish();
                },
                &mut |n| {
                    let request = LogContext::builder("PUT-1").label("bench").start();
                    ours_runtime.block_on(
                        async {
                            for _ in 0..n {
                                let id = ours_id();
                                let txn = ours.run_interaction("set_state", |mut txn| async move {
                                    txn.execute(UPDATE, ("online", id)).await
                                });
                                txn.await.expect("a commit");
                            }
                        }
                        .in_context(request.clone()),
                    );
                    request.finish();
                },
                &mut |n| {
                    pool_runtime.block_on(async {
                        for _ in 0..n {
                            let mut txn = pool.begin_with(begin).await.expect("a transaction");
                            let update = sqlx::query(UPDATE).bind("online").bind(pool_id());
                            update.execute(&mut *txn).await.expect("an update");
                            txn.commit().await.expect("a commit");
                        }
                    });
                },
            ],
        );
        crate::db::Found { query: query.into(), write: write.into() }
    }};
}
pub(super) use measure;

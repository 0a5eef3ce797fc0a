//! Every way in which a start can fail leaves nothing behind.

mod common;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use common::{Greeter, ask, on_both, settings, start, status, unix};
use logcontext::{FutureExt, Supervisor, testing};
use logcontext_service::{ListenerSettings, Service, Settings, StartError};

/// The error, after which nothing is left: no context, nothing that runs, and no datastore.
fn refused(settings: Settings<Greeter>) -> StartError {
    let test = testing::start();
    let closed = settings.database.closed.clone();
    let opens = !settings.database.refuse;
    let runtime = common::current_thread(&test);
    let error = runtime.block_on(async {
        let error = start(&test, settings).await.expect_err("an error");
        assert_eq!(test.supervisor().running().len(), 0);
        error
    });
    drop(runtime);
    common::assert_all_finished(&test);
    common::assert_no_sentinel_line(&test);
    let closed = closed.0.load(SeqCst);
    assert!(closed <= usize::from(opens), "closed {closed} times");
    error
}

#[test]
fn a_port_that_is_taken_is_told_and_the_datastore_is_not_touched() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for admin in [false, true] {
        let mut settings = settings();
        if admin {
            settings.service.admin.address = Some(logcontext_service::ListenAddress::from(address).into());
        } else {
            settings.service.listeners.push(ListenerSettings::new(address.into()));
        }
        let closed = settings.database.closed.clone();
        let error = refused(settings);
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("in use"));
        assert_eq!(closed.0.load(SeqCst), 0, "it was opened");
    }
}

#[test]
fn what_was_bound_before_is_free_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("greeter.sock");
    let mut settings = settings();
    settings.service.listeners.push(unix(&path));
    settings.database.refuse = true;
    let error = refused(settings);
    assert!(matches!(error, StartError::Datastore(_)), "{error}");
    assert!(!path.exists());
}

#[test]
fn a_datastore_that_cannot_be_opened_is_told() {
    let mut settings = settings();
    settings.database.refuse = true;
    assert_eq!(refused(settings).to_string(), "cannot open the database");
}

#[test]
fn a_server_that_refuses_has_its_datastore_closed() {
    let mut settings = settings();
    settings.server.refuse = true;
    let closed = settings.database.closed.clone();
    let error = refused(settings);
    assert!(matches!(error, StartError::Server(_)), "{error}");
    assert_eq!(closed.0.load(SeqCst), 1);
}

#[test]
fn a_start_that_nobody_waits_for_any_more_has_its_datastore_closed() {
    let test = testing::start();
    let mut settings = settings();
    settings.server.hang = true;
    let hangs = Arc::clone(&settings.server.hangs.0);
    let closed = settings.database.closed.clone();
    let runtime = common::multi_thread(&test);
    runtime.block_on(async {
        tokio::select! {
            _ = start(&test, settings) => unreachable!("it hangs"),
            () = hangs.notified() => {}
        }
        let shutdown = test.supervisor().shutdown(common::PATIENCE).await;
        assert!(shutdown.aborted.is_empty());
    });
    assert_eq!(closed.0.load(SeqCst), 1);
    common::assert_no_sentinel_line(&test);
}

#[test]
fn a_service_that_is_not_run_or_not_to_its_end_has_its_datastore_closed() {
    let test = testing::start();
    let (first, second) = (settings(), settings());
    let closed = [&first, &second].map(|settings| settings.database.closed.clone());
    common::multi_thread(&test).block_on(async {
        drop(start(&test, first).await.unwrap());
        let second = start(&test, second).await.unwrap();
        let given_up =
            tokio::time::timeout(Duration::from_millis(50), second.run(std::future::pending())).await;
        assert!(given_up.is_err());
        let shutdown = test.supervisor().shutdown(common::PATIENCE).await;
        assert!(shutdown.aborted.is_empty(), "{shutdown:?}");
    });
    assert!(closed.iter().all(|closed| closed.0.load(SeqCst) == 1));
    common::assert_all_finished(&test);
}

#[test]
fn a_certificate_that_is_of_no_use_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none.pem");
    for (certificate, key, expected) in [
        (Some(&none), None, "tls_key"),
        (None, Some(&none), "tls_certificate"),
        (Some(&none), Some(&none), "none.pem"),
    ] {
        let mut settings = settings();
        settings.service.listeners[0].tls_certificate = certificate.cloned();
        settings.service.listeners[0].tls_key = key.cloned();
        let error = refused(settings);
        let told = std::error::Error::source(&error).unwrap().to_string();
        let expected = if certificate.is_some() && key.is_some() && !cfg!(feature = "tls") {
            "feature"
        } else {
            expected
        };
        assert!(matches!(error, StartError::Tls(..)) && told.contains(expected), "{error}: {told}");
    }
}

#[test]
fn two_services_in_one_process_do_not_meet() {
    on_both(settings, async |first| {
        let supervisor = Supervisor::new("second");
        let startup = supervisor.context("startup").start();
        let second = Service::<Greeter>::start(settings()).in_context(startup.clone()).await.unwrap();
        startup.finish();
        let (address, admin) =
            (second.addresses().next().unwrap().clone(), second.admin_address().unwrap().clone());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = second.run(async { drop(stopped.await) });
        let asking = async {
            for _ in 0..3 {
                assert_eq!(status(&ask(&address, "GET /", &[], "").await), 200);
            }
            assert_eq!(status(&first.get("/panic").await), 500);
            let metrics = ask(&admin, "GET /metrics", &[], "").await;
            assert!(
                metrics.contains(r#"logcontext_requests_total{label="GET /",outcome="ok"} 3"#),
                "{metrics}"
            );
            assert!(
                metrics.contains("logcontext_panics_total 0") && !metrics.contains("/panic"),
                "{metrics}"
            );
            let metrics = first.admin("/metrics").await;
            assert!(
                metrics.contains("logcontext_panics_total 1") && !metrics.contains(r#""GET /""#),
                "{metrics}"
            );
            drop(stop);
        };
        let (stopped, ()) = tokio::join!(serving, asking);
        assert!(stopped.unwrap().is_clean());
        assert!(supervisor.contexts().iter().all(logcontext::LogContext::is_finished));
        // The end of one is not the end of the other.
        assert_eq!(status(&first.get("/").await), 200);
    });
}

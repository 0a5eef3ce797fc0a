//! What a call by HTTP has cost comes home to whoever has called.

mod support;

use std::convert::Infallible;
use std::future::{pending, ready};
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Request, Response};
use logcontext::testing::{self, Test};
use logcontext::{ContextKind, FutureExt, LogContext, RemoteUsage, ResourceUsage, current_context};
use logcontext_http::server_timing::{self, remote_usage};
use logcontext_http::{ClientLayer, ContextLayer};
use proptest::prelude::*;
use tower::{Layer, Service, ServiceExt};

const MILLI: Duration = Duration::from_millis(1);

/// More than anything here burns.
const MUCH: Duration = Duration::from_secs(600);

fn costs() {
    let context = current_context();
    context.charge_cpu(MUCH);
    context.record_db_transaction(2 * MILLI);
    context.record_db_transaction(Duration::from_nanos(3));
    context.record_db_wait(MILLI);
}

async fn answer() -> Result<Response<String>, Infallible> {
    costs();
    Ok(Response::new(String::new()))
}

/// What a context is charged for these calls.
fn charged<F: Future>(test: &Test, future: F) -> (F::Output, ResourceUsage) {
    let caller = LogContext::new("GET-18");
    let output = test.current_thread().block_on(future.in_context(caller.clone()));
    (output, caller.finish())
}

fn layer(test: &Test) -> ContextLayer {
    ContextLayer::new().supervisor(test.supervisor()).server_timing(server_timing::always)
}

fn assert_costs_of_calls(calls: u32, usage: &ResourceUsage) {
    let remote = usage.remote();
    assert_eq!((remote.calls, remote.unknown), (calls.into(), 0));
    let time = (2 * MILLI + Duration::from_nanos(3)) * calls;
    assert_eq!((remote.db_txn_count, remote.db_txn_duration), (u64::from(2 * calls), time));
    assert_eq!(remote.db_wait(), Some(MILLI * calls));
    if usage.cpu().is_some() {
        let cpu = remote.cpu().unwrap();
        assert!(cpu >= MUCH * calls && cpu < MUCH * calls + Duration::from_secs(60), "{cpu:?}");
    }
    assert_eq!((usage.db_txn_count, usage.db_txn_duration), (0, Duration::ZERO));
    assert!(usage.cpu().is_none_or(|cpu| cpu < MUCH), "{usage:?}");
}

#[test]
fn what_a_response_has_cost_its_caller_is_charged_apart_from_its_own() {
    let test = testing::start();
    let server = layer(&test).layer(tower::service_fn(|_: Request<()>| answer()));
    let client = ClientLayer::new().layer(server);
    let (response, usage) = charged(&test, client.oneshot(Request::new(())));
    response.unwrap();
    assert_costs_of_calls(1, &usage);
}

#[test]
fn what_a_server_causes_elsewhere_comes_home_with_its_own_and_the_line_says_both() {
    let test = testing::start();
    let inner = layer(&test).layer(tower::service_fn(|_: Request<()>| answer()));
    let outer = layer(&test).layer(tower::service_fn(move |request: Request<()>| {
        let inner = ClientLayer::new().layer(inner.clone());
        async {
            inner.oneshot(request).await?;
            answer().await
        }
    }));
    let (response, usage) =
        charged(&test, ClientLayer::new().layer(outer).oneshot(Request::get("/outer").body(()).unwrap()));
    drop(response);
    assert_costs_of_calls(2, &usage);
    let lines = test.records();
    let line = lines.iter().find(|line| line.field("remote_calls").is_some()).unwrap();
    let fields = [
        "remote_calls",
        "remote_unknown",
        "remote_db_txn_count",
        "remote_db_txn_seconds",
        "remote_db_wait_seconds",
    ];
    let values = fields.map(|field| line.field(field).unwrap().to_owned());
    assert_eq!(values, ["1", "0", "2", "0.002000003", "0.001"]);
    assert_eq!((line.field("db_txn_count"), line.field("db_wait_seconds")), (Some("2"), Some("0.001")));
    if usage.cpu().is_some() {
        assert!(line.field("remote_cpu_seconds").unwrap().parse::<f64>().unwrap() >= 600.0);
    }
    let end = "[0 dbevts] [1 remote calls, 0 unknown: cpu=600.";
    assert!(
        line.message.contains(end) && line.message.ends_with("db=(0.001sec/0.002sec/2)]"),
        "{}",
        line.message
    );
    // Who has called nobody says nothing of it.
    let others: Vec<_> = lines.iter().filter(|other| other.message.ends_with(" dbevts]")).collect();
    assert_eq!(others.len(), 1);
    assert!(fields.iter().all(|field| others[0].field(field).is_none()));
}

#[test]
fn what_does_not_say_what_it_has_cost_is_unknown() {
    let test = testing::start();
    let client = |layer: ContextLayer| {
        ClientLayer::new().layer(layer.layer(tower::service_fn(|_: Request<()>| answer())))
    };
    let silent = ContextLayer::new().supervisor(test.supervisor());
    let (response, usage) = charged(&test, client(silent).oneshot(Request::new(())));
    response.unwrap();
    assert_eq!(usage.remote(), RemoteUsage::unknown());

    let fails = tower::service_fn(|_: Request<()>| ready(Err::<Response<()>, _>("no connection")));
    let (response, usage) = charged(&test, ClientLayer::new().layer(fails).oneshot(Request::new(())));
    assert_eq!((response.unwrap_err(), usage.remote()), ("no connection", RemoteUsage::unknown()));

    let hangs = tower::service_fn(|_: Request<()>| pending::<Result<Response<()>, Infallible>>());
    let dropped = async {
        let mut call = Box::pin(ClientLayer::new().layer(hangs).call(Request::new(())));
        assert!(futures_util::poll!(&mut call).is_pending());
        async { drop(call) }.in_context(LogContext::new("other")).await;
    };
    let ((), usage) = charged(&test, dropped);
    assert_eq!(usage.remote(), RemoteUsage::unknown());
}

#[test]
fn only_those_are_believed_whom_the_client_believes() {
    let test = testing::start();
    let server = layer(&test).layer(tower::service_fn(|_: Request<()>| answer()));
    let layer = ClientLayer::new().believe(|request| request.uri.host() == Some("ours.internal"));
    let ask = |uri: &str| {
        let request = Request::get(uri).body(()).unwrap();
        charged(&test, layer.layer(server.clone()).oneshot(request)).1.remote()
    };
    assert_eq!(ask("http://ours.internal/").calls, 1);
    assert_eq!(ask("http://theirs.example/"), RemoteUsage::unknown());
}

#[test]
fn a_call_carries_its_trace_and_is_charged_to_the_whole_once() {
    let test = testing::start();
    let trace = logcontext::TraceContext::random();
    let request = test
        .supervisor()
        .context("GET-9")
        .kind(ContextKind::Request)
        .request(logcontext::Request::new("GET", "/").trace_context(trace.clone()))
        .label("GET /")
        .start();
    let client = ClientLayer::new().layer(tower::service_fn(|request: Request<()>| {
        let sent = request.headers()["traceparent"].clone();
        let cost = HeaderValue::from_static("cpu;dur=1");
        let response = Response::builder().header("x-sent", sent).header("server-timing", cost);
        ready(Ok::<_, Infallible>(response.body(()).unwrap()))
    }));
    let call = client.oneshot(Request::new(())).in_context(request.nested("part"));
    let response = test.current_thread().block_on(call).unwrap();
    assert_eq!(&response.headers()["x-sent"].to_str().unwrap()[3..35], trace.trace_id());
    assert_eq!(request.finish().remote(), RemoteUsage::call().with_cpu(MILLI));
}

fn said(values: &[&'static str]) -> RemoteUsage {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("server-timing", HeaderValue::from_static(value));
    }
    remote_usage(&headers)
}

#[test]
fn several_headers_are_one_and_the_first_of_a_name_wins() {
    let cpu = |millis| RemoteUsage::call().with_cpu(MILLI * millis);
    assert_eq!(said(&["cache;desc=hit", "total;dur=9, cpu;dur=1, cpu;dur=2", "cpu;dur=3"]), cpu(1));
    assert_eq!(said(&[r#"x;desc=", cpu;dur=5", cpu ; Desc=CPU ; DUR="7""#]), cpu(7));
    assert_eq!(said(&[r#"cpu;dur=1;dur=junk, Db;dur=1"#]), cpu(1));
    let txns = RemoteUsage::call().with_db_txns(2, Duration::ZERO);
    assert_eq!(said(&[r#"db_txns;desc="2 transactions""#]), txns);
    assert_eq!(said(&["cpu;dur=0"]).cpu(), Some(Duration::ZERO), "it was told to be nothing");
}

#[test]
fn what_cannot_be_is_not_known_and_nothing_that_is_known_is_believed_beside_it() {
    let long: &'static str = format!("x;desc=\"{}\", cpu;dur=1", "x".repeat(4_096)).leak();
    for value in [
        "",
        "cache;desc=hit, miss;dur=5",
        "cpu",
        "cpu;dur",
        "cpu;dur=",
        "cpu;dur=-1",
        "cpu;dur=junk",
        "cpu;dur=inf",
        "cpu;dur=nan",
        "cpu;dur=1e999",
        "cpu;dur=3600001",
        "cpu;dur=3600001, db;dur=1",
        "cpu;dur=1, db;dur=-1",
        r#"cpu;dur=1, db_txns;desc="-1 transactions""#,
        r#"cpu;dur=1, db_txns;desc="many transactions""#,
        r#"cpu;dur=1, db_txns;desc="1000001 transactions""#,
        r#"cpu;dur=1, remote_calls;desc="18446744073709551615""#,
        r#"cpu;dur=1, remote_unknown;desc="99999999999999999999""#,
        "cpu;dur=2000000, remote_cpu;dur=2000000",
        long,
    ] {
        assert_eq!(said(&[value]), RemoteUsage::unknown(), "{value:.60}");
    }
    assert_eq!(said(&["cpu;dur=3600000"]).cpu(), Some(RemoteUsage::MAX_TIME));
}

proptest! {
    #[test]
    fn whatever_a_header_says_it_is_read_and_bounded(
        values in prop::collection::vec("[ -~\t\u{80}-\u{ff}]{0,60}|(cpu|db|db_txns|remote_calls|x)[;=, \"\\\\a-z0-9.e+-]{0,40}", 0..4),
    ) {
        let mut headers = HeaderMap::new();
        for value in &values {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                headers.append("server-timing", value);
            }
        }
        let usage = remote_usage(&headers);
        prop_assert_eq!(usage, usage.or_unknown());
        prop_assert_eq!(usage.calls == 0, usage == RemoteUsage::unknown());
    }

    #[test]
    fn what_a_server_writes_is_what_its_caller_reads(
        (cpu, txns, txn, wait) in (0..3_000_000_000_u64, 0..5_u64, 0..3_000_000_000_u64, 0..3_000_000_000_u64),
        remote in prop::option::of((0..3_000_000_000_u64, 0..5_u64, 0..3_000_000_000_u64, 0..9_u64)),
    ) {
        let test = testing::start();
        let handler = move |_: Request<Body>| async move {
            let nanos = Duration::from_nanos;
            let context = current_context();
            context.charge_cpu(nanos(cpu));
            (0..txns).for_each(|_| context.record_db_transaction(nanos(txn)));
            context.record_db_wait(nanos(wait));
            if let Some((cpu, txns, txn, unknown)) = remote {
                let mut remote = RemoteUsage::call().with_cpu(nanos(cpu)).with_db_txns(txns, nanos(txn));
                remote.unknown = unknown;
                context.record_remote(&remote);
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        };
        let service = layer(&test).layer(tower::service_fn(handler));
        let response = test.current_thread().block_on(service.oneshot(Request::new(Body::empty()))).unwrap();
        let read = remote_usage(response.headers());
        let of_others = u64::from(remote.is_some());
        let (remote_cpu, remote_txns, remote_txn, unknown) = remote.unwrap_or_default();
        prop_assert_eq!((read.calls, read.unknown), (1 + of_others, unknown));
        prop_assert_eq!(read.db_txn_count, txns + remote_txns);
        prop_assert_eq!(read.db_txn_duration, Duration::from_nanos(txns * txn + remote_txn));
        prop_assert_eq!(read.db_wait(), Some(Duration::from_nanos(wait)));
        // What the handler itself burned is in it.
        let least = Duration::from_nanos(cpu + remote_cpu);
        prop_assert!(read.cpu().is_none_or(|cpu| cpu >= least && cpu < least + Duration::from_secs(10)));
    }
}

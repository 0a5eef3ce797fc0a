//! Traces that cross services: what comes in, what goes out.

use std::convert::Infallible;

use http::HeaderMap;
use logcontext::testing::{self, Test};
use logcontext::{FutureExt, current_context, run_in_background};
use logcontext_http::{ContextLayer, TraceparentLayer, trace_headers};
use tower::{Layer, ServiceExt};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The headers of two calls that a handler makes when it is called with these.
fn calls(layer: ContextLayer, headers: &[(&'static str, &str)]) -> [HeaderMap; 2] {
    let test = testing::start();
    let client = TraceparentLayer::new().layer(tower::service_fn(|request: http::Request<()>| async {
        Ok::<_, Infallible>(request.into_parts().0.headers)
    }));
    let handler = tower::service_fn(move |_: http::Request<()>| async move {
        let mut calls = Vec::new();
        for _ in 0..2 {
            calls.push(client.oneshot(http::Request::new(())).await?);
        }
        let mut response = http::Response::new(String::new());
        response.extensions_mut().insert(calls);
        let own = current_context().request().unwrap().span().unwrap().clone();
        response.extensions_mut().insert(own);
        Ok::<_, Infallible>(response)
    });
    let mut request = http::Request::new(());
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let service = layer.supervisor(test.supervisor()).layer(handler);
    let response = test.current_thread().block_on(service.oneshot(request)).unwrap();
    let own = response.extensions().get::<logcontext::TraceContext>().unwrap();
    let calls = response.extensions().get::<Vec<HeaderMap>>().unwrap().clone();
    // each is a span of its own
    let mut spans: Vec<_> = calls.iter().map(|call| span(call).to_owned()).collect();
    spans.push(own.span_id().to_owned());
    spans.push("b7ad6b7169203331".to_owned());
    spans.sort_unstable();
    spans.dedup();
    assert_eq!(spans.len(), 4, "{calls:?}");
    assert!(calls.iter().all(|call| trace(call) == own.trace_id()), "{calls:?}");
    calls.try_into().unwrap()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

fn trace(headers: &HeaderMap) -> &str {
    &text(headers, "traceparent")[3..35]
}

fn span(headers: &HeaderMap) -> &str {
    &text(headers, "traceparent")[36..52]
}

#[test]
fn a_trace_is_carried_on_with_a_new_span_for_each_call() {
    for call in calls(ContextLayer::new(), &[("traceparent", GIVEN), ("tracestate", "a=1, b=2")]) {
        assert_eq!(trace(&call), TRACE);
        assert!(text(&call, "traceparent").ends_with("-01"));
        assert_eq!(text(&call, "tracestate"), "a=1, b=2");
    }
}

#[test]
fn an_invalid_traceparent_is_not_continued() {
    let upper = GIVEN.to_uppercase();
    for wrong in ["", "x", &upper, &GIVEN[..54], "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"] {
        for call in calls(ContextLayer::new(), &[("traceparent", wrong), ("tracestate", "a=1")]) {
            assert_ne!(trace(&call), TRACE, "{wrong}");
            assert_eq!(text(&call, "tracestate"), "", "of no trace: {wrong}");
            assert!(text(&call, "traceparent").ends_with("-02"), "{call:?}");
        }
    }
}

#[test]
fn of_two_traceparents_none_is_continued() {
    let other = GIVEN.replace(TRACE, "4bf92f3577b34da6a3ce929d0e0e4736");
    for second in [GIVEN, &other, ""] {
        for call in calls(ContextLayer::new(), &[("traceparent", GIVEN), ("traceparent", second)]) {
            assert_ne!(trace(&call), TRACE);
            assert_ne!(trace(&call), &other[3..35]);
        }
    }
}

#[test]
fn tracestate_in_several_headers_is_one() {
    let headers = [("traceparent", GIVEN), ("tracestate", "a=1"), ("tracestate", "b=2,c=3")];
    assert_eq!(text(&calls(ContextLayer::new(), &headers)[0], "tracestate"), "a=1,b=2,c=3");
}

#[test]
fn a_bad_tracestate_is_dropped_and_the_trace_goes_on() {
    let long = format!("a={}", "1".repeat(600));
    for state in ["nonsense", "a=1,nonsense", &long] {
        for call in calls(ContextLayer::new(), &[("traceparent", GIVEN), ("tracestate", state)]) {
            assert_eq!((trace(&call), text(&call, "tracestate")), (TRACE, ""));
        }
    }
}

#[test]
fn without_a_traceparent_each_request_begins_a_trace() {
    let [first, _] = calls(ContextLayer::new(), &[]);
    let [second, _] = calls(ContextLayer::new(), &[]);
    assert_ne!(trace(&first), trace(&second));
    assert!(text(&first, "traceparent").ends_with("-02"), "random, not sampled: {first:?}");
    let [sampled, _] = calls(ContextLayer::new().sample_new_traces(), &[]);
    assert!(text(&sampled, "traceparent").ends_with("-03"), "{sampled:?}");
}

#[test]
fn a_service_may_refuse_to_go_on_with_the_traces_of_others() {
    for call in calls(ContextLayer::new().restart_traces(), &[("traceparent", GIVEN), ("tracestate", "a=1")])
    {
        assert_ne!(trace(&call), TRACE);
        assert_eq!(text(&call, "tracestate"), "");
    }
}

/// A request that a handler runs `work` for.
fn handled<W: Future + Send + 'static>(test: &Test, work: impl Fn() -> W + Clone + Send + 'static) {
    let handler = tower::service_fn(move |_: http::Request<()>| {
        let work = work();
        async {
            work.await;
            Ok::<_, Infallible>(http::Response::new(String::new()))
        }
    });
    let service = ContextLayer::new().supervisor(test.supervisor()).layer(handler);
    let request = http::Request::get("/").header("traceparent", GIVEN).body(()).unwrap();
    let response = test.current_thread().block_on(service.oneshot(request)).unwrap();
    // The layer catches what fails in a handler.
    assert_eq!(response.status(), 200, "{:#?}", test.records());
}

#[test]
fn what_is_done_for_a_request_elsewhere_is_in_its_trace() {
    let test = testing::start();
    handled(&test, || async {
        let sent = run_in_background(async {
            let mut headers = HeaderMap::new();
            trace_headers(&mut headers);
            assert_eq!(trace(&headers), TRACE);
        });
        sent.await.unwrap();
        let nested = current_context().nested("lookup");
        let mut headers = HeaderMap::new();
        async { trace_headers(&mut headers) }.in_context(nested).await;
        assert_eq!(trace(&headers), TRACE);
    });
}

#[test]
fn what_the_headers_said_before_is_replaced() {
    let test = testing::start();
    handled(&test, || async {
        let mut headers = HeaderMap::new();
        for value in ["old", "older"] {
            headers.append("traceparent", value.parse().unwrap());
            headers.append("tracestate", value.parse().unwrap());
        }
        trace_headers(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(trace(&headers), TRACE);
    });
}

#[test]
fn outside_of_any_request_the_headers_stay_as_they_are() {
    let test = testing::start();
    let mut headers = HeaderMap::new();
    trace_headers(&mut headers);
    assert!(headers.is_empty());
    headers.insert("traceparent", GIVEN.parse().unwrap());
    test.supervisor().context("prune").start().scope(|| trace_headers(&mut headers));
    assert_eq!(headers["traceparent"], GIVEN);
}

#[test]
fn a_background_process_is_linked_to_the_request_whose_records_name_the_trace() {
    let test = testing::start();
    handled(&test, || async {
        let request = current_context();
        let process = logcontext::background::run("notify", async {});
        assert_eq!(process.context().started_by(), Some(request.name()));
        assert_eq!(request.request().unwrap().trace(), Some(TRACE));
        process.await.unwrap();
    });
}

//! What a scraper gets.

mod support;

use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use logcontext::testing;
use logcontext_metrics::{Exporter, Format};
use support::Exposition;

#[test]
fn an_answer_is_in_the_format_that_was_asked_for_and_is_not_kept() {
    let test = testing::start();
    let exporter = Exporter::new(test.supervisor());
    let asked = |accept: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for accept in accept {
            headers.append(ACCEPT, HeaderValue::from_static(accept));
        }
        exporter.respond(&headers)
    };
    for (accept, format) in [
        (&[][..], Format::Prometheus),
        (&["*/*"], Format::Prometheus),
        (&["application/openmetrics-text;version=1.0.0,text/plain;q=0.5"], Format::OpenMetrics),
        (&["text/plain;q=0.5", "application/openmetrics-text"], Format::OpenMetrics),
    ] {
        let answer = asked(accept);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()[CONTENT_TYPE], format.content_type(), "{accept:?}");
        assert_eq!(answer.headers()[CACHE_CONTROL], "no-store");
        assert!(Exposition::parse(answer.body(), format).is_ok(), "{accept:?}");
    }
    assert_eq!(Format::Prometheus.content_type(), "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(
        Format::OpenMetrics.content_type(),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
}

//! Streams: each item is made in the context, what is left drops in it.
mod common;

use common::{Seen, assert_bursts, here};
use futures_util::{FutureExt as _, Stream, StreamExt, stream};
use logcontext::{FutureExt, LogContext, testing};

#[test]
fn a_stream_makes_each_item_in_its_context_and_drops_there_at_its_end() {
    let _test = testing::start();
    let (request, consumer) = (LogContext::new("GET-1"), LogContext::new("consumer"));
    let seen = Seen::default();
    let held = seen.on_drop();
    let items = stream::iter(0..3).map(move |i| {
        let _held = &held;
        format!("{} {i}", here())
    });
    let mut items = Box::pin(items.in_context(request.clone()));
    assert_eq!(items.size_hint(), (3, Some(3)));
    consumer.scope(|| {
        for i in 0..3 {
            assert_eq!(items.next().now_or_never().unwrap(), Some(format!("GET-1 {i}")));
            assert_eq!(here(), "consumer");
        }
        assert_eq!(items.next().now_or_never().unwrap(), None);
        assert_eq!(seen.all(), ["GET-1"], "at its end, before its shell is dropped");
        assert_eq!(here(), "consumer");
        assert_eq!(items.next().now_or_never().unwrap(), None, "and no more");
    });
    assert_eq!(items.size_hint(), (0, Some(0)));
    assert_bursts(&request, 1);
}

#[test]
fn a_stream_left_half_way_drops_in_its_context() {
    let _test = testing::start();
    let (request, seen) = (LogContext::new("GET-1"), Seen::default());
    let held = seen.on_drop();
    let items = stream::iter(0..3).inspect(move |_| {
        let _held = &held;
    });
    let mut items = items.in_context(request.clone());
    assert_eq!(items.next().now_or_never().unwrap(), Some(0));
    LogContext::new("consumer").scope(|| {
        drop(items);
        assert_eq!(here(), "consumer");
    });
    assert_eq!(seen.all(), ["GET-1"]);
    assert_bursts(&request, 1);
}

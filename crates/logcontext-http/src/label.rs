//! What a request is totalled by: its method and the route that it matched, never its path.

use std::cell::Cell;

use http::Method;
use logcontext::LogContext;

/// A request that matched no route, or whose route nobody told us.
pub(crate) const UNMATCHED: &str = "(unmatched)";

thread_local! {
    /// The label that this thread wrote last, for the sake of its memory.
    static LABEL: Cell<String> = const { Cell::new(String::new()) };
}

/// Labels the context: `GET /presence/{user}`. Methods that HTTP does not know are one, whatever clients make up.
/// Answers whether it had no label yet.
pub(crate) fn set(context: &LogContext, method: &str, route: &str) -> bool {
    let method = match method {
        "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "CONNECT" | "OPTIONS" | "TRACE" | "PATCH" => method,
        _ => "OTHER",
    };
    let mut label = LABEL.try_with(Cell::take).unwrap_or_default();
    label.clear();
    label.push_str(method);
    label.push(' ');
    label.push_str(route);
    let is_first = context.set_label(&label);
    let _ = LABEL.try_with(|kept| kept.set(label));
    is_first
}

/// The same for a request whose route is known already; false if it is not.
#[cfg(feature = "axum")]
pub(crate) fn set_matched(context: &LogContext, method: &Method, extensions: &http::Extensions) -> bool {
    let route = extensions.get::<axum::extract::MatchedPath>();
    route.is_some_and(|route| set(context, method.as_str(), route.as_str()))
}

#[cfg(not(feature = "axum"))]
pub(crate) fn set_matched(_: &LogContext, _: &Method, _: &http::Extensions) -> bool {
    false
}

#[cfg(feature = "axum")]
pub use layer::{LabelLayer, LabelService};

#[cfg(feature = "axum")]
mod layer {
    use std::task::{Context, Poll};

    use logcontext::current_context;
    use tower_layer::Layer;
    use tower_service::Service;

    /// Labels the current request with its route, for services that wrap their whole router in a
    /// [`ContextLayer`](crate::ContextLayer): out there no route has been matched yet. Where the `ContextLayer`
    /// itself is given to `Router::layer`, this is not needed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// use axum::{Router, routing::get};
    /// use logcontext::current_context;
    /// use logcontext_http::{ContextLayer, LabelLayer};
    /// use tower::{Layer, ServiceExt};
    ///
    /// let label = || async { current_context().label().unwrap().to_string() };
    /// let router = Router::new().route("/presence/{user}", get(label)).layer(LabelLayer::new());
    /// let service = ContextLayer::new().layer(router);
    ///
    /// let request = http::Request::get("/presence/alice").body(axum::body::Body::empty()).unwrap();
    /// let response = service.oneshot(request).await.unwrap();
    /// let body = axum::body::to_bytes(axum::body::Body::new(response.into_body()), 100).await.unwrap();
    /// assert_eq!(body, "GET /presence/{user}");
    /// # }
    /// ```
    #[derive(Clone, Copy, Debug, Default)]
    pub struct LabelLayer(());

    impl LabelLayer {
        /// The layer.
        pub fn new() -> Self {
            Self(())
        }
    }

    impl<S> Layer<S> for LabelLayer {
        type Service = LabelService<S>;

        fn layer(&self, inner: S) -> Self::Service {
            LabelService { inner }
        }
    }

    /// A service behind a [`LabelLayer`].
    #[derive(Clone, Copy, Debug)]
    pub struct LabelService<S> {
        inner: S,
    }

    impl<S, B> Service<http::Request<B>> for LabelService<S>
    where
        S: Service<http::Request<B>>,
    {
        type Response = S::Response;
        type Error = S::Error;
        type Future = S::Future;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
            self.inner.poll_ready(cx)
        }

        fn call(&mut self, request: http::Request<B>) -> S::Future {
            super::set_matched(&current_context(), request.method(), request.extensions());
            self.inner.call(request)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_that_clients_make_up_are_one() {
        let label = |method, route| {
            let context = LogContext::new("request");
            assert!(set(&context, method, route));
            assert!(!set(&context, "GET", "/another"));
            context.label().map(str::to_owned).unwrap()
        };
        assert_eq!(label("GET", "/presence/{user}"), "GET /presence/{user}");
        assert_eq!(label("BREW", "/pot"), "OTHER /pot");
        assert_eq!(label("get", UNMATCHED), "OTHER (unmatched)");
    }
}

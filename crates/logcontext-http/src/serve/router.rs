//! Routers of axum, made ready for all of their requests.

use std::any::Any;

use axum::Router;

/// The service; if it is a router, one that has its routes put together. Until it is given its state, if only that it
/// has none, a router puts handler and layers together anew for each request: that takes three allocations.
pub(super) fn prepared<S: 'static>(service: S) -> S {
    let mut service = Some(service);
    if let Some(router) = (&mut service as &mut dyn Any).downcast_mut::<Option<Router>>() {
        *router = router.take().map(|router| router.with_state(()));
    }
    service.expect("it is there again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_router_stays_as_it_is() {
        assert_eq!(prepared(String::from("a service")), "a service");
    }
}

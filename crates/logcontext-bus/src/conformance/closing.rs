//! The end of a connection.

use std::sync::Arc;
use std::time::Duration;

use super::Case;
use super::case::soon;
use super::listener::ids;
use super::peer::{EVENT, Peer, RPC, message};
use crate::transport::{Lane, Publish, TransportError};
use crate::waits::Told;

impl Peer {
    pub(super) async fn close(&self) {
        soon("a close", self.transport.close(Duration::from_secs(10))).await;
    }
}

/// It has a name, is connected sooner or later, and nothing waits where nothing is done.
pub async fn a_connection_says_how_it_is_doing(case: Case) {
    let peer = case.connect();
    soon("a connection", peer.transport.connected()).await.expect("a connection");
    let status = peer.transport.status();
    assert_eq!((status.connected, status.queued, status.is_full, status.reconnects), (Ok(()), 0, false, 0));
    assert!(!peer.transport.name().is_empty());
    peer.close().await;
    let status = peer.transport.status();
    assert!(status.connected.is_err());
    assert_eq!(status.connections, 0);
    assert_eq!(soon("no connection", peer.transport.connected()).await, Err(TransportError::Closed));
}

/// All that is asked of it is refused as closed.
pub async fn who_is_closed_takes_nothing_more(case: Case) {
    let (peer, other) = (case.connect(), case.connect());
    let mut listener = peer.wish("group").listen().await;
    let lease = soon("a lease", peer.transport.leases().acquire("one", Duration::from_secs(600))).await;
    let lease = lease.expect("a lease").expect("it is free");
    let _server = other.serve(1).await;
    other.fire("1").await;
    let delivery = listener.next().await;
    peer.close().await;

    let transport = &peer.transport;
    let publish = Publish { event: EVENT, partition: 0, message: message("2") };
    assert_eq!(soon("an event", transport.events().publish(publish)).await, Err(TransportError::Closed));
    let (outgoing, _call) = peer.outgoing(RPC, Lane::First, message("3"));
    assert_eq!(soon("a call", transport.calls().call(outgoing)).await, Err(TransportError::Closed));
    let acknowledged = listener.subscription.acknowledge(vec![delivery.id]);
    assert_eq!(soon("an acknowledgement", acknowledged).await, Err(TransportError::Closed));
    assert_eq!(soon("a lease", lease.renew()).await, Err(TransportError::Closed));
    assert_eq!(soon("the events", transport.log().events()).await, Err(TransportError::Closed));
    assert_eq!(soon("a schema", transport.schemas().get("event")).await, Err(TransportError::Closed));
}

/// Whoever waits for an answer is told that there will be none.
pub async fn a_close_ends_what_waits(case: Case) {
    let (caller, service) = (case.connect(), case.connect());
    let mut server = service.serve(1).await;
    let begun = caller.call("1").await;
    let _came = server.next().await;
    let waits = caller.call("2").await;
    caller.close().await;
    for call in [begun, waits] {
        let became = call.became().await;
        assert!(matches!(became, Told::Lost(_)), "{became:?}");
    }
}

/// Whoever closes it once more waits along.
pub async fn a_close_may_be_repeated_and_shared(case: Case) {
    let peer = case.connect();
    let _listener = peer.wish("group").listen().await;
    peer.fire("1").await;
    tokio::join!(peer.close(), peer.close());
    peer.close().await;
    let transport = Arc::downgrade(&peer.transport);
    drop(peer);
    drop(_listener);
    assert!(transport.upgrade().is_none(), "something keeps it");
}

/// It is as if its consumers had died.
pub async fn what_a_closed_consumer_had_comes_to_another(case: Case) {
    let claim_after = Duration::from_millis(500);
    let (a, b) = (case.connect(), case.connect());
    let mut first = a.wish("group").claim_after(claim_after).listen().await;
    b.fire_all(1..=3).await;
    let taken = first.take(3).await;
    first.acknowledge([taken[0].id]).await;
    let mut second = b.wish("group").claim_after(claim_after).listen().await;
    a.close().await;
    assert_eq!(ids(&second.take(2).await), ids(&taken[1..]));
}

/// And as if its servers had died: whoever is left serves all.
pub async fn what_a_closed_server_would_get_comes_to_another(case: Case) {
    let (caller, a, b) = (case.connect(), case.connect(), case.connect());
    let mut closed = a.serve(5).await;
    let mut server = b.serve(5).await;
    a.close().await;
    for lane in [Lane::First, Lane::Nested] {
        for n in 0..5 {
            let call = caller.call_by(lane, n.to_string()).await;
            assert!(server.echo().await);
            assert_eq!(call.answer().await, message(n.to_string()));
        }
    }
    assert!(closed.calls.try_recv().is_err());
}

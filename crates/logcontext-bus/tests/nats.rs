//! What is NATS's own: it counts deliveries that nobody has got.

#![cfg(feature = "nats")]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message as Raw};
use futures_util::StreamExt as _;
use logcontext::testing;
use logcontext::{FutureExt, LogContext, Supervisor};
use logcontext_bus::BusConfig;
use logcontext_bus::transport::{
    Connector, Delivery, DeliveryId, Inbox, Link, Message, Nats, Publish, Since, Subscribe, Subscription,
    Transport,
};
use logcontext_testservers as servers;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

const EVENT: &str = "test.event";

/// Nothing here takes so long: a test that hangs is one that fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// The test with a server of its own, on a current-thread runtime and on one with two workers.
fn on_both<F: Future<Output = ()> + Send + 'static>(test: impl Fn(Arc<servers::Nats>) -> F) {
    use tokio::runtime::Builder;

    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let guard = testing::start();
        let builder = builder.worker_threads(2).enable_all().on_thread_start(guard.thread_start());
        let runtime = builder.on_thread_park(logcontext::expect_sentinel).build().unwrap();
        let server = Arc::new(servers::Nats::start().unwrap());
        runtime.block_on(test(server).in_context(LogContext::new("test")));
        runtime.block_on(guard.supervisor().shutdown(DEADLINE));
        drop(runtime);
        let supervisor = guard.supervisor();
        assert!(supervisor.running().is_empty(), "{:?}", supervisor.running());
    }
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// What a bus of its own would have.
fn connect(server: &servers::Nats) -> Arc<dyn Transport> {
    let config = BusConfig::new("test", server.url());
    let identity = format!("test/{:016x}", fastrand::u64(..)).into();
    let link =
        Link { config, identity, inbox: Arc::new(Inbox::default()), supervisor: Supervisor::current() };
    Nats::new(server.url()).unwrap().connect(link).unwrap()
}

async fn fire(transport: &Arc<dyn Transport>) {
    let message = Message { head: "{}".into(), body: "1".into() };
    let publish = transport.events().publish(Publish { event: EVENT, partition: 0, message });
    soon("it is stored", publish).await.unwrap();
}

struct Listener {
    subscription: Arc<dyn Subscription>,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
}

impl Listener {
    async fn start(transport: &Arc<dyn Transport>) -> Self {
        let (sender, deliveries) = mpsc::unbounded_channel();
        let wish = Subscribe {
            event: EVENT.into(),
            group: "group".into(),
            partitions: vec![0],
            is_leased: false,
            with_retried: false,
            since: Since::Now,
            claim_after: DEADLINE,
            slots: Arc::new(Semaphore::new(1)),
            deliveries: sender,
        };
        let subscription = soon("it listens", transport.events().subscribe(wish)).await.unwrap();
        Self { subscription, deliveries }
    }

    /// The event that comes next, and how often it has come by what is said.
    async fn next(&mut self) -> (DeliveryId, u32) {
        let delivery = soon("an event comes", self.deliveries.recv()).await.unwrap();
        (delivery.id, delivery.deliveries)
    }

    async fn release(&self, id: DeliveryId) {
        soon("it is released", self.subscription.release(vec![id])).await.unwrap();
    }

    async fn stop(&self) {
        soon("it stops", self.subscription.stop()).await.unwrap();
    }
}

/// Somebody who is none of ours, and knows what the broker has.
struct Stranger(Client);

impl Stranger {
    async fn connect(server: &servers::Nats) -> Self {
        Self(soon("it connects", async_nats::connect(server.url())).await.unwrap())
    }

    async fn ask(&self, subject: String, payload: &'static str) -> Raw {
        let answer = soon("an answer", self.0.request(subject.clone(), payload.into())).await;
        answer.unwrap_or_else(|error| panic!("{subject}: {error}"))
    }

    /// The only one of these names that has this in it.
    async fn name(&self, subject: &str, list: &str, part: &str) -> String {
        let answer = self.ask(subject.to_owned(), "").await;
        let json: Value = serde_json::from_slice(&answer.payload).unwrap();
        let names = json[list].as_array().unwrap().iter().filter_map(Value::as_str);
        let found: Vec<_> = names.filter(|name| name.contains(part)).collect();
        assert_eq!(found.len(), 1, "{json}");
        found[0].to_owned()
    }

    /// Has the broker bring the group's next event to nobody, so often.
    async fn waste(&self, times: usize) {
        let stream = self.name("$JS.API.STREAM.NAMES", "streams", "_event_").await;
        let names = format!("$JS.API.CONSUMER.NAMES.{stream}");
        let consumer = self.name(&names, "consumers", "group").await;
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let mut inbox = self.0.subscribe("stranger").await.unwrap();
        for _ in 0..times {
            let wish = r#"{"batch":1}"#;
            self.0.publish_with_reply(next.clone(), "stranger", wish.into()).await.unwrap();
            let brought = soon("something is brought", inbox.next()).await.unwrap();
            self.ask(brought.reply.unwrap().to_string(), "-NAK").await;
        }
    }

    /// How often events have come, as it is written down: of so many.
    async fn written_down(&self) -> u64 {
        let stream = self.name("$JS.API.STREAM.NAMES", "streams", "_kept").await;
        let answer = self
            .ask(format!("$JS.API.STREAM.INFO.{stream}"), r#"{"subjects_filter":"*.kept.times.>"}"#)
            .await;
        let json: Value = serde_json::from_slice(&answer.payload).unwrap();
        json["state"]["subjects"].as_object().map_or(0, |subjects| subjects.len() as u64)
    }
}

#[test]
#[ignore = "needs NATS: cargo xtask test"]
fn what_the_broker_has_brought_to_nobody_was_not_delivered() {
    on_both(async |server| {
        let transport = connect(&server);
        Listener::start(&transport).await.stop().await;
        fire(&transport).await;
        let stranger = Stranger::connect(&server).await;
        stranger.waste(10).await;
        let mut listener = Listener::start(&transport).await;
        // That the first delivery was none of ours nobody can know.
        let (id, times) = listener.next().await;
        assert_eq!(times, 2);
        // From then on each counts that comes to one of us, and no other.
        listener.release(id).await;
        assert_eq!(listener.next().await, (id, 3));
        listener.stop().await;
        listener.release(id).await;
        stranger.waste(10).await;
        let mut other = Listener::start(&transport).await;
        assert_eq!(other.next().await, (id, 4));
        assert_eq!(stranger.written_down().await, 1);
        soon("it is done", other.subscription.acknowledge(vec![id])).await.unwrap();
        soon("it is forgotten", async {
            while stranger.written_down().await > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    });
}

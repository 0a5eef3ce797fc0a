//! Carries events: a stream for each partition, a group of consumers for each listener.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use redis::{Cmd, Value, cmd};
use tokio_util::sync::DropGuard;

use super::command::Then;
use super::keys::Keys;
use super::queues::Kind;
use super::reader::{Reader, Stream};
use super::reading::keep_reading;
use super::scripts;
use super::shared::Shared;
use super::stopping::Stopping;
use super::{RedisTransport, value};
use crate::transport::{
    DeadLetter, DeliveryId, Doing, EventId, EventTransport, Publish, Since, Subscribe, Subscription,
    TransportError,
};

/// The errors by which Redis speaks of itself: as the driver calls those that it knows, and as they are.
const PASSING: [&str; 14] = [
    "BusyLoading",
    "LOADING",
    "ReadOnly",
    "READONLY",
    "MasterDown",
    "MASTERDOWN",
    "ClusterDown",
    "CLUSTERDOWN",
    "TryAgain",
    "TRYAGAIN",
    "OOM",
    "MISCONF",
    "BUSY",
    "NOREPLICAS",
];

impl EventTransport for RedisTransport {
    fn publish(&self, event: Publish) -> Doing<'_, EventId> {
        let shared = &self.shared;
        let Publish { event, partition, message } = event;
        let mut add = cmd("XADD");
        add.arg(shared.keys.events(event, partition)).arg("*").arg("m").arg(message.to_frame());
        Box::pin(shared.queues.ask(Kind::Events, add, move |asker| Then::Publish { event, partition, asker }))
    }

    fn is_passing(&self, refusal: &str) -> bool {
        let code = refusal.trim_start_matches('"').split([':', ' ', '"']).next();
        code.is_some_and(|code| PASSING.contains(&code))
    }

    fn subscribe(&self, wish: Subscribe) -> Doing<'_, Arc<dyn Subscription>> {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let streams = streams(&shared.keys, &wish);
            for stream in &streams {
                shared
                    .queues
                    .settle(make_group(&shared.keys, &wish.event, &wish.group, stream, wish.since))
                    .await?;
            }
            let end = shared.end.child_token();
            let consumer = Consumer {
                event: Arc::clone(&wish.event),
                group: Arc::clone(&wish.group),
                stopping: Stopping::default(),
                _end: end.clone().drop_guard(),
                shared: Arc::clone(&shared),
            };
            let reader = Reader::new(Arc::clone(&shared), wish, streams, consumer.stopping.clone());
            let reading = keep_reading(Arc::clone(&shared), consumer.stopping.clone(), reader);
            shared.spawn("bus_redis_events", end, reading);
            Ok(Arc::new(consumer) as Arc<dyn Subscription>)
        })
    }
}

fn streams(keys: &Keys, wish: &Subscribe) -> Vec<Stream> {
    let retried = wish.with_retried.then_some(DeliveryId::RETRIED);
    let partitions = wish.partitions.iter().copied().chain(retried);
    partitions
        .map(|partition| Stream::new(partition, keys.stream(&wish.event, &wish.group, partition)))
        .collect()
}

/// Makes the group where there is none.
pub(super) fn make_group(keys: &Keys, event: &str, group: &str, stream: &Stream, since: Since) -> Cmd {
    let is_retried = stream.partition == DeliveryId::RETRIED;
    // What is there to be tried again came before whoever listens.
    let start = if since == Since::Start || is_retried { "0" } else { "$" };
    let entry = Keys::entry(event, if is_retried { 0 } else { stream.partition });
    let mut make = scripts::call(&scripts::GROUP, &[&stream.key, &keys.registry()]);
    make.arg(group).arg(start).arg(entry);
    make
}

/// One consumer of one group.
struct Consumer {
    event: Arc<str>,
    group: Arc<str>,
    stopping: Stopping,
    _end: DropGuard,
    shared: Arc<Shared>,
}

impl Consumer {
    fn key(&self, partition: u16) -> String {
        self.shared.keys.stream(&self.event, &self.group, partition)
    }

    /// A call of the script for each partition.
    async fn each(
        &self,
        script: &redis::Script,
        ids: Vec<DeliveryId>,
    ) -> Result<Vec<(u16, Value)>, TransportError> {
        let mut answers = Vec::new();
        for (partition, ids) in by_partition(ids) {
            let mut command = scripts::call(script, &[self.key(partition)]);
            command.arg(&*self.group).arg(&*self.shared.identity).arg(ids);
            answers.push((partition, self.shared.queues.settle(command).await?));
        }
        Ok(answers)
    }
}

fn by_partition(ids: Vec<DeliveryId>) -> BTreeMap<u16, Vec<String>> {
    let mut partitions = BTreeMap::<u16, Vec<String>>::new();
    for DeliveryId { partition, id } in ids {
        partitions.entry(partition).or_default().push(id.to_string());
    }
    partitions
}

impl Subscription for Consumer {
    fn acknowledge(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(async move {
            for (partition, ids) in by_partition(ids) {
                let key = self.key(partition);
                let mut acknowledge = cmd("XACK");
                acknowledge.arg(&key).arg(&*self.group).arg(&ids);
                self.shared.queues.settle(acknowledge).await?;
                if partition == DeliveryId::RETRIED {
                    // It was for this group alone.
                    let mut delete = cmd("XDEL");
                    delete.arg(&key).arg(&ids);
                    self.shared.queues.settle(delete).await?;
                }
            }
            Ok(())
        })
    }

    fn renew(&self, ids: Vec<DeliveryId>) -> Doing<'_, Vec<DeliveryId>> {
        Box::pin(async move {
            let answers = self.each(&scripts::RENEW, ids).await?;
            let lost = answers.into_iter().flat_map(|(partition, answer)| {
                let ids = value::list(answer).unwrap_or_default();
                ids.into_iter().filter_map(move |id| Some(DeliveryId { partition, id: value::id(&id)? }))
            });
            Ok(lost.collect())
        })
    }

    fn release(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(async move { self.each(&scripts::RELEASE, ids).await.map(drop) })
    }

    fn give_back(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(async move { self.each(&scripts::GIVE_BACK, ids).await.map(drop) })
    }

    fn bury(&self, id: DeliveryId, letter: DeadLetter) -> Doing<'_, ()> {
        let key = self.key(id.partition);
        let mut bury = scripts::call(&scripts::BURY, &[&key, &self.shared.keys.dead_letters(&self.event)]);
        bury.arg(&*self.group).arg(&*self.shared.identity).arg(id.id.to_string());
        bury.arg(letter.reason).arg(letter.deliveries).arg(letter.message.to_frame());
        bury.arg(u8::from(id.partition == DeliveryId::RETRIED));
        Box::pin(async move { self.shared.queues.settle(bury).await.map(drop) })
    }

    fn stop(&self) -> Doing<'_, ()> {
        Box::pin(self.stopping.stop(&self.shared))
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("event", &self.event)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

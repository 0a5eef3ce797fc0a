//! How streams and consumers are set up, and how they are made where there are none.

use std::time::Duration;

use serde_json::{Value, json};

use super::failure::{Failure, STREAM_IS_THERE};
use super::js::{self, ConsumerInfo, Done};
use super::shared::Shared;
use super::wire::{Ask, Wire};
use crate::transport::{DeliveryId, Lane, Since};

/// So many wishes may wait at a consumer.
const WISHES: u32 = 2048;

/// What calls that wait may take of the broker's memory, in bytes: 256 MiB for each lane of each call.
const CALLS: u64 = 256 * 1024 * 1024;

/// Calls that nobody has read for so long are forgotten: an hour.
const CALLS_LAST: Duration = Duration::from_secs(3600);

/// How to make a stream.
#[derive(Clone, Debug)]
pub(super) struct Make(Ask);

impl Make {
    fn new(name: &str, mut config: Value) -> Self {
        config["name"] = name.into();
        Self(js::create_stream(name, &config))
    }

    /// Made, or there already, however it is set up: who has done that knows why.
    pub(super) fn check(answer: Result<async_nats::Message, Failure>) -> Result<(), Failure> {
        match answer.and_then(|answer| js::read::<Done>(&answer)) {
            Ok(Done {}) => Ok(()),
            Err(failure) if failure.is(STREAM_IS_THERE) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    pub(super) fn ask(&self) -> &Ask {
        &self.0
    }
}

impl Shared {
    /// The stream of an event. It rings for each partition.
    pub(super) fn events_stream(&self, event: &str) -> Make {
        let subjects = self.names.partitions(event);
        let bell =
            json!({"src": subjects, "dest": self.names.bell(event, "{{wildcard(1)}}"), "headers_only": true});
        let config =
            json!({"subjects": [subjects], "storage": "file", "republish": bell, "allow_direct": true});
        Make::new(&self.names.events(event), config)
    }

    /// The stream of an event's dead letters.
    pub(super) fn dead_stream(&self, event: &str) -> Make {
        let subjects = self.names.dead_letters(event);
        Make::new(
            &self.names.dead(event),
            json!({"subjects": [subjects], "storage": "file", "allow_direct": true}),
        )
    }

    /// The stream of those that are tried again: what is done is gone.
    pub(super) fn retried_stream(&self, event: &str) -> Make {
        let config = json!({
            "subjects": [self.names.all_retried(event)], "storage": "file", "retention": "workqueue",
            "allow_direct": true,
        });
        Make::new(&self.names.retried(event), config)
    }

    /// The stream of the calls of a lane. No disk: a call is not worth more than its caller's patience.
    pub(super) fn calls_stream(&self, rpc: &str, lane: Lane) -> Make {
        let config = json!({
            "subjects": [self.names.all_calls(rpc, lane)], "storage": "memory", "discard": "new",
            "max_bytes": CALLS, "max_age": nanos(CALLS_LAST),
        });
        Make::new(&self.names.calls(rpc, lane), config)
    }

    /// The stream of what is kept by name: the last counts.
    pub(super) fn kept_stream(&self) -> Make {
        let config = json!({
            "subjects": [self.names.all_kept()], "storage": "file", "max_msgs_per_subject": 1, "allow_direct": true,
        });
        Make::new(&self.names.kept(), config)
    }

    /// Stores a message, once, in a stream that is made where there is none. Answers its number.
    pub(super) async fn store(&self, make: &Make, message: &Ask) -> Result<u64, Failure> {
        self.store_by(&*self.wire().await?, make, message).await
    }

    /// The same by that connection alone.
    pub(super) async fn store_by(&self, wire: &Wire, make: &Make, message: &Ask) -> Result<u64, Failure> {
        match self.ask_by(wire, message).await {
            // It was stored nowhere.
            Err(Failure::Nobody) => {
                Make::check(self.ask_by(wire, make.ask()).await)?;
                js::read::<js::Stored>(&self.ask_by(wire, message).await?).map(|stored| stored.seq)
            }
            answer => js::read::<js::Stored>(&answer?).map(|stored| stored.seq),
        }
    }

    /// The same until the broker has answered.
    pub(super) async fn settle_store(&self, make: &Make, message: &Ask) -> Result<u64, Failure> {
        loop {
            match self.store(make, message).await {
                Err(Failure::Lost(_)) => {}
                answer => return answer,
            }
        }
    }

    /// Makes the consumer of a group in a partition where there is none. One that is there goes on where it was.
    pub(super) async fn make_group(
        &self,
        event: &str,
        group: &str,
        partition: u16,
        since: Since,
        claim_after: Duration,
    ) -> Result<(), Failure> {
        let is_retried = partition == DeliveryId::RETRIED;
        let make = if is_retried { self.retried_stream(event) } else { self.events_stream(event) };
        let (stream, filter) = self.feed(event, group, partition);
        Make::check(self.ask(make.ask()).await)?;
        let name = super::names::consumer(group, partition);
        let found = self.ask(&js::consumer_info(&stream, &name)).await;
        let config = match found.and_then(|answer| js::read::<ConsumerInfo>(&answer)) {
            Ok(ConsumerInfo { mut config, .. }) => {
                if config["ack_wait"] == nanos(claim_after) {
                    return Ok(());
                }
                config["ack_wait"] = nanos(claim_after).into();
                config
            }
            Err(failure) if failure.is_absence() => json!({
                "durable_name": name, "filter_subject": filter, "ack_policy": "explicit",
                "ack_wait": nanos(claim_after), "max_ack_pending": -1, "max_waiting": WISHES,
                // What is there to be tried again came before whoever listens.
                "deliver_policy": if since == Since::Start || is_retried { "all" } else { "new" },
            }),
            Err(failure) => return Err(failure),
        };
        js::read::<Done>(&self.ask(&js::create_consumer(&stream, &name, &config)).await?).map(drop)
    }

    /// The stream of a partition, and its subject in there.
    pub(super) fn feed(&self, event: &str, group: &str, partition: u16) -> (String, String) {
        if partition == DeliveryId::RETRIED {
            (self.names.retried(event), self.names.retried_of(event, group))
        } else {
            (self.names.events(event), self.names.partition(event, partition))
        }
    }
}

/// The consumer of all servers of a lane. What it has given is not its any more.
pub(super) const SERVERS: &str = "servers";

pub(super) fn servers(stream: &str) -> Ask {
    let config = json!({
        "durable_name": SERVERS, "ack_policy": "none", "deliver_policy": "all", "max_waiting": WISHES,
        "max_ack_pending": -1, "mem_storage": true,
    });
    js::create_consumer(stream, SERVERS, &config)
}

/// Not longer than a century, for which the broker has room.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.min(Duration::from_secs(100 * 365 * 24 * 3600)).as_nanos()).unwrap_or(u64::MAX)
}

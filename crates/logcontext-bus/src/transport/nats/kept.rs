//! What is kept by name: one stream, where the last word on each subject counts. The broker's clock is told by it.

use std::sync::PoisonError;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use async_nats::Message as Raw;

use super::clock::{Clock, parse};
use super::failure::Failure;
use super::js::{self, Get};
use super::shared::Shared;
use super::streams::Make;
use super::wire::Wire;

/// So often the broker's clock is looked at to know it well.
const LOOKS: usize = 3;

impl Shared {
    /// Now, by the broker's clock, in microseconds since 1970.
    pub(super) fn broker_time(&self) -> u64 {
        self.clock().now()
    }

    /// The broker's clock. It has been looked at before anything else.
    pub(super) fn clock(&self) -> Clock {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(Clock::here)
    }

    /// Looks at it again.
    pub(super) async fn look_at_clock(&self, wire: &Wire) -> Result<(), Failure> {
        let mut best = self.look_at_clock_once(wire).await?;
        for _ in 1..LOOKS {
            let clock = self.look_at_clock_once(wire).await?;
            if clock.error < best.error {
                best = clock;
            }
        }
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = Some(best);
        Ok(())
    }

    /// The broker writes down when it has got something.
    async fn look_at_clock_once(&self, wire: &Wire) -> Result<Clock, Failure> {
        let subject = self.names.clock(&self.identity);
        self.make_kept(wire).await?;
        let asked = Instant::now();
        let stored = wire.ask(&js::store(subject, "")).await;
        let answered = Instant::now();
        let sequence = js::read::<js::Stored>(&stored?)?.seq;
        let found = wire.ask(&js::get(&self.names.kept(), &Get::At(sequence))).await?;
        let there = header(&found, "Nats-Time-Stamp").and_then(parse);
        let there =
            there.ok_or_else(|| Failure::Refused("it does not say when it has got something".to_owned()))?;
        Ok(Clock::new(asked, answered, there))
    }

    /// Makes the stream of what is kept by name, where it is not known to be there. Of one that is not, some brokers answer
    /// nothing.
    async fn make_kept(&self, wire: &Wire) -> Result<(), Failure> {
        if !wire.has_kept.load(SeqCst) {
            Make::check(wire.ask(self.kept_stream().ask()).await)?;
            wire.has_kept.store(true, SeqCst);
        }
        Ok(())
    }

    /// What was said last on this subject of what is kept by name.
    pub(super) async fn last(&self, wire: &Wire, subject: &str) -> Result<Option<Raw>, Failure> {
        self.make_kept(wire).await?;
        match self.ask_by(wire, &js::get(&self.names.kept(), &Get::Last(subject))).await {
            Ok(found) if found.status.is_none() => Ok(Some(found)),
            Ok(_) | Err(Failure::Nobody) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

pub(super) fn header<'a>(message: &'a Raw, name: &str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

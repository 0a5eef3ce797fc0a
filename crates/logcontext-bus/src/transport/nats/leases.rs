//! Leases: the last word on a subject counts, and only who knows the one before can have it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use async_nats::Message as Raw;

use super::NatsTransport;
use super::clock::{Clock, micros, parse, since_1970};
use super::failure::{Failure, WRONG_SEQUENCE};
use super::gate::Kind;
use super::js::{self, Get, StreamInfo};
use super::shared::Shared;
use super::wire::{Ask, Wire};
use crate::transport::{Doing, Lease, Leases};

/// So often the broker's clock is looked at to know it well.
const LOOKS: usize = 3;

/// What is there, of a subject where the last word counts.
struct Word {
    sequence: u64,
    text: String,
    /// When it was said, in microseconds since 1970
    at: u64,
}

impl Shared {
    /// Now, by the broker's clock, in microseconds since 1970.
    pub(super) async fn broker_time(&self, wire: &Wire) -> Result<u64, Failure> {
        Ok(self.clock(wire).await?.now())
    }

    /// The same as far as it is known.
    pub(super) fn known_time(&self) -> Option<u64> {
        Some(self.known_clock()?.now())
    }

    fn known_clock(&self) -> Option<Clock> {
        *self.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn clock(&self, wire: &Wire) -> Result<Clock, Failure> {
        if let Some(clock) = self.known_clock().filter(Clock::is_fresh) {
            return Ok(clock);
        }
        let mut best: Option<Clock> = None;
        for _ in 0..LOOKS {
            let clock = self.look_at_clock(wire).await?;
            best = best.filter(|best| best.error < clock.error).or(Some(clock));
        }
        let clock = best.ok_or_else(Failure::gone)?;
        *self.clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(clock);
        Ok(clock)
    }

    /// The broker writes down when it has got something.
    async fn look_at_clock(&self, wire: &Wire) -> Result<Clock, Failure> {
        let subject = self.names.clock(&self.identity);
        let mut asked = Instant::now();
        let mut stored = wire.ask(&js::store(subject.clone(), "")).await;
        if matches!(stored, Err(Failure::Nobody)) {
            super::streams::Make::check(wire.ask(self.kept_stream().ask()).await)?;
            asked = Instant::now();
            stored = wire.ask(&js::store(subject, "")).await;
        }
        let answered = Instant::now();
        let sequence = js::read::<js::Stored>(&stored?)?.seq;
        let found = wire.ask(&js::get(&self.names.kept(), &Get::At(sequence))).await?;
        let there = header(&found, "Nats-Time-Stamp").and_then(parse);
        let there = there.ok_or_else(|| Failure::Refused("it does not say when it has got something".to_owned()))?;
        Ok(Clock::new(asked, answered, there))
    }

    /// The last word on this subject.
    async fn word(&self, subject: &str) -> Result<Option<Word>, Failure> {
        let found = match self.ask(&js::get(&self.names.kept(), &Get::Last(subject))).await {
            Ok(found) if found.status.is_none() => found,
            Ok(_) | Err(Failure::Nobody) => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let odd = || Failure::Refused("a message without its number".to_owned());
        let sequence = header(&found, "Nats-Sequence").and_then(|text| text.parse().ok()).ok_or_else(odd)?;
        let at = header(&found, "Nats-Time-Stamp").and_then(parse).ok_or_else(odd)?;
        let text = String::from_utf8_lossy(&found.payload).into_owned();
        Ok(Some(Word { sequence, text, at: micros(since_1970(at)) }))
    }

    /// Says the next word, if this is the last until now. Answers its number.
    async fn say(&self, subject: &str, text: String, after: u64) -> Result<Option<u64>, Failure> {
        let say = js::store_with(subject.to_owned(), text, js::AFTER, &after.to_string());
        match self.store(&self.kept_stream(), &say).await {
            Ok(sequence) => Ok(Some(sequence)),
            Err(failure) if failure.is(WRONG_SEQUENCE) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn clock_now(&self) -> Result<Clock, Failure> {
        let wire = self.wire().await?;
        self.clock(&wire).await
    }
}

pub(super) fn header<'a>(message: &'a Raw, name: &str) -> Option<&'a str> {
    Some(message.headers.as_ref()?.get(name)?.as_str())
}

/// `token microseconds`: whose it is, and for how long from when it was said. Nobody's: nothing.
fn lease_text(token: &str, time: Duration) -> String {
    format!("{token} {}", micros(time))
}

impl Word {
    /// Is it over, without any doubt?
    fn is_over(&self, clock: Clock) -> bool {
        let time: u64 = self.text.rsplit_once(' ').and_then(|(_, time)| time.parse().ok()).unwrap_or(0);
        clock.now().saturating_sub(micros(clock.error)) > self.at.saturating_add(time)
    }
}

impl Leases for NatsTransport {
    fn acquire(&self, name: &str, time: Duration) -> Doing<'_, Option<Arc<dyn Lease>>> {
        let subject = self.shared.names.lease(name);
        let token = format!("{}:{:016x}", self.shared.identity, fastrand::u64(..));
        Box::pin(async move {
            let _place = self.shared.gate.enter(Kind::Upkeep).await?;
            let last = self.shared.word(&subject).await?;
            if let Some(last) = &last
                && !last.text.is_empty()
                && !last.is_over(self.shared.clock_now().await?)
            {
                return Ok(None);
            }
            let after = last.map_or(0, |last| last.sequence);
            let said = self.shared.say(&subject, lease_text(&token, time), after).await?;
            let shared = Arc::clone(&self.shared);
            Ok(said.map(|sequence| {
                let sequence = AtomicU64::new(sequence);
                Arc::new(Held { subject, token, time, sequence, shared }) as Arc<dyn Lease>
            }))
        })
    }

    fn take_part(&self, name: &str, time: Duration) -> Doing<'_, usize> {
        let name = name.to_owned();
        Box::pin(async move {
            let shared = &self.shared;
            let _place = shared.gate.enter(Kind::Upkeep).await?;
            let own = shared.names.part(&name, &shared.identity);
            shared.store(&shared.kept_stream(), &js::store(own.clone(), lease_text("", time))).await?;
            let clock = shared.clock_now().await?;
            let parts = js::stream_info(&shared.names.kept(), Some(&shared.names.parts(&name)));
            let info: StreamInfo = js::read(&shared.ask(&parts).await?)?;
            let mut count = 1;
            for subject in info.state.subjects.into_keys().filter(|subject| *subject != own) {
                match shared.word(&subject).await? {
                    Some(word) if word.is_over(clock) => {
                        // Unless it was said again meanwhile.
                        let forget = js::purge(&shared.names.kept(), Some(&subject), Some(word.sequence + 1));
                        shared.leftovers.ask(forget);
                    }
                    Some(_) => count += 1,
                    None => {}
                }
            }
            Ok(count)
        })
    }

    fn leave(&self, name: &str) -> Doing<'_, ()> {
        let own = self.shared.names.part(name, &self.shared.identity);
        let forget = js::purge(&self.shared.names.kept(), Some(&own), None);
        Box::pin(async move { Ok(self.shared.settle(&forget).await.map(drop)?) })
    }
}

/// A lease that was ours when it was last looked at.
struct Held {
    subject: String,
    token: String,
    time: Duration,
    /// Of our last word
    sequence: AtomicU64,
    shared: Arc<Shared>,
}

impl Held {
    /// Says the next word if the last one was ours.
    async fn say(&self, text: String) -> Result<bool, Failure> {
        let _place = self.shared.gate.enter(Kind::Upkeep).await?;
        if let Some(sequence) = self.shared.say(&self.subject, text.clone(), self.sequence.load(SeqCst)).await? {
            self.sequence.store(sequence, SeqCst);
            return Ok(true);
        }
        // It may have been said when a connection was lost.
        let last = self.shared.word(&self.subject).await?;
        let own = last.filter(|last| last.text.rsplit_once(' ').is_some_and(|(token, _)| token == self.token));
        let Some(own) = own else { return Ok(false) };
        let said = self.shared.say(&self.subject, text, own.sequence).await?;
        self.sequence.store(said.unwrap_or(own.sequence), SeqCst);
        Ok(said.is_some())
    }

    fn let_go(&self) -> Ask {
        let after = self.sequence.load(SeqCst).to_string();
        js::store_with(self.subject.clone(), "", js::AFTER, &after)
    }
}

impl Lease for Held {
    fn renew(&self) -> Doing<'_, bool> {
        Box::pin(async move { Ok(self.say(lease_text(&self.token, self.time)).await?) })
    }

    fn release(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            loop {
                match self.say(String::new()).await {
                    Err(Failure::Lost(_)) => {}
                    said => return Ok(said.map(drop)?),
                }
            }
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shared.leftovers.ask(self.let_go());
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("subject", &self.subject).finish_non_exhaustive()
    }
}

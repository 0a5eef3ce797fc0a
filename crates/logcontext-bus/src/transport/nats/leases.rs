//! Leases: the last word on a subject counts, and only who knows the one before can have it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::NatsTransport;
use super::clock::{Clock, micros, parse, since_1970};
use super::failure::{Failure, WRONG_SEQUENCE};
use super::gate::Kind;
use super::js::{self, StreamInfo};
use super::kept::header;
use super::shared::Shared;
use super::wire::Ask;
use crate::transport::{Doing, Lease, Leases};

/// What is there, of a subject where the last word counts.
struct Word {
    sequence: u64,
    text: String,
    /// When it was said, in microseconds since 1970
    at: u64,
}

impl Shared {
    /// The last word on this subject.
    async fn word(&self, subject: &str) -> Result<Option<Word>, Failure> {
        let wire = self.wire().await?;
        let Some(found) = self.last(&wire, subject).await? else { return Ok(None) };
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
            let _under_way = self.shared.enter(Kind::Upkeep).await?;
            let last = self.shared.word(&subject).await?;
            if let Some(last) = &last
                && !last.text.is_empty()
                && !last.is_over(self.shared.clock())
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
            let _under_way = shared.enter(Kind::Upkeep).await?;
            let own = shared.names.part(&name, &shared.identity);
            shared.store(&shared.kept_stream(), &js::store(own.clone(), lease_text("", time))).await?;
            let clock = shared.clock();
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
        let _under_way = self.shared.enter(Kind::Upkeep).await?;
        if let Some(sequence) =
            self.shared.say(&self.subject, text.clone(), self.sequence.load(SeqCst)).await?
        {
            self.sequence.store(sequence, SeqCst);
            return Ok(true);
        }
        // It may have been said when a connection was lost.
        let last = self.shared.word(&self.subject).await?;
        let own =
            last.filter(|last| last.text.rsplit_once(' ').is_some_and(|(token, _)| token == self.token));
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

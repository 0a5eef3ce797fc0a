//! Reads events for one consumer, by a connection of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value, cmd};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::events::make_group;
use super::reading::{End, Reads};
use super::scripts;
use super::shared::Shared;
use super::stopping::Stopping;
use super::value;
use super::wire::Wire;
use crate::transport::{Delivery, DeliveryId, Message, Since, Subscribe};

/// So many events are read at once, at most.
const BATCH: usize = 128;

/// At the latest after so long it is looked for what others have left.
const LOOK: Duration = Duration::from_secs(1);

/// One of the streams that are read.
pub(super) struct Stream {
    pub(super) partition: u16,
    pub(super) key: String,
    /// As long as there may be something that another has in its hands: from where on.
    takeover: Option<String>,
}

impl Stream {
    pub(super) fn new(partition: u16, key: String) -> Self {
        Self { partition, key, takeover: None }
    }
}

pub(super) struct Reader {
    shared: Arc<Shared>,
    wish: Subscribe,
    streams: Vec<Stream>,
    stopping: Stopping,
    /// When to look for what others have left
    look: Instant,
    /// Whose turn it is, where not all can be read at once
    turn: usize,
}

impl Reads for Reader {
    async fn read_all(&mut self, mut wire: Wire) -> End {
        match self.read_on(&mut wire).await {
            Err(end) => end,
        }
    }
}

impl Reader {
    pub(super) fn new(
        shared: Arc<Shared>,
        wish: Subscribe,
        mut streams: Vec<Stream>,
        stopping: Stopping,
    ) -> Self {
        for stream in &mut streams {
            // Only partitions are leased.
            stream.takeover =
                (wish.is_leased && stream.partition != DeliveryId::RETRIED).then(|| "-".to_owned());
        }
        Self { shared, wish, streams, stopping, look: Instant::now(), turn: 0 }
    }

    async fn read_on(&mut self, wire: &mut Wire) -> Result<Infallible, End> {
        loop {
            let mut slots = self.slots(wire).await?;
            self.take_over(wire, &mut slots).await?;
            if Instant::now() >= self.look {
                self.look = Instant::now() + (self.wish.claim_after / 4).min(LOOK);
                self.claim(wire, &mut slots).await?;
            }
            if !slots.is_empty() {
                self.read(wire, &mut slots).await?;
            }
        }
    }

    /// At least one slot; as many more as are free.
    async fn slots(&mut self, wire: &mut Wire) -> Result<Vec<OwnedSemaphorePermit>, End> {
        let slots = &self.wish.slots;
        let first = tokio::select! {
            biased;
            () = self.stopping.asked() => return Err(End::Stopped),
            () = self.wish.deliveries.closed() => return Err(End::Stopped),
            slot = Arc::clone(slots).acquire_owned() => slot.map_err(|_| End::Stopped)?,
            why = wire.lost() => return Err(End::Lost(why)),
        };
        let mut taken = vec![first];
        while taken.len() < BATCH {
            let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { break };
            taken.push(slot);
        }
        Ok(taken)
    }

    /// What others have of leased partitions in their hands is ours, in order, before anything new.
    async fn take_over(&mut self, wire: &mut Wire, slots: &mut Vec<OwnedSemaphorePermit>) -> Result<(), End> {
        for at in 0..self.streams.len() {
            while let Some(from) = self.streams[at].takeover.clone() {
                if slots.is_empty() {
                    return Ok(());
                }
                let last = self.claim_from(wire, at, Duration::ZERO, &from, slots).await?;
                self.streams[at].takeover = last.map(|last| format!("({last}"));
            }
        }
        Ok(())
    }

    /// What nobody has renewed is ours.
    async fn claim(&mut self, wire: &mut Wire, slots: &mut Vec<OwnedSemaphorePermit>) -> Result<(), End> {
        for at in 0..self.streams.len() {
            if slots.is_empty() {
                // More may be there.
                self.look = Instant::now();
                return Ok(());
            }
            self.claim_from(wire, at, self.wish.claim_after.max(Duration::from_millis(1)), "-", slots)
                .await?;
        }
        Ok(())
    }

    /// Answers the last id that was looked at, if there was any.
    async fn claim_from(
        &mut self,
        wire: &mut Wire,
        at: usize,
        idle: Duration,
        from: &str,
        slots: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<Option<String>, End> {
        let wanted = slots.len();
        let mut claim = scripts::call(&scripts::CLAIM, &[&self.streams[at].key]);
        claim.arg(&*self.wish.group).arg(&*self.shared.identity);
        claim.arg(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)).arg(from).arg(wanted);
        let answer = wire.ask_one(&claim, Duration::ZERO).await?;
        let Some([last, taken]) = self.checked(wire, answer).await?.and_then(value::array) else {
            return Ok(None);
        };
        for entry in value::list(taken).unwrap_or_default() {
            let Some([id, deliveries, frame]) = value::array(entry) else { continue };
            let deliveries =
                value::count(&deliveries).and_then(|count| count.try_into().ok()).unwrap_or(u32::MAX);
            self.deliver(at, &id, frame, deliveries, slots)?;
        }
        Ok(value::text(&last).map(str::to_owned))
    }

    /// Waits for what is new.
    async fn read(&mut self, wire: &mut Wire, slots: &mut Vec<OwnedSemaphorePermit>) -> Result<(), End> {
        let (count, all) = (slots.len(), self.streams.len());
        let wait = self.look.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        if count >= all {
            return self.read_from(wire, 0..all, count / all, Some(wait), slots).await;
        }
        // Fewer slots than streams: each stream in turn, and all at once only where none had anything.
        for _ in 0..all.div_ceil(count) {
            let from = self.turn % all;
            let to = (from + count).min(all);
            self.turn = to % all;
            self.read_from(wire, from..to, 1, None, slots).await?;
            if slots.len() < count {
                return Ok(());
            }
        }
        self.read_from(wire, 0..all, 1, Some(wait), slots).await
    }

    async fn read_from(
        &mut self,
        wire: &mut Wire,
        streams: std::ops::Range<usize>,
        count: usize,
        wait: Option<Duration>,
        slots: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<(), End> {
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(&*self.wish.group).arg(&*self.shared.identity).arg("COUNT").arg(count);
        if let Some(wait) = wait {
            read.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
        read.arg("STREAMS");
        for stream in &self.streams[streams.clone()] {
            read.arg(&stream.key);
        }
        for _ in streams {
            read.arg(">");
        }
        if self.stopping.is_asked() {
            return Err(End::Stopped);
        }
        let answer = wire.ask_one(&read, wait.unwrap_or_default()).await?;
        let Some(answer) = self.checked(wire, answer).await? else { return Ok(()) };
        let mut surplus = Vec::new();
        for stream in value::list(answer).unwrap_or_default() {
            let Some([key, entries]) = value::array(stream) else { continue };
            let Some(at) = self.streams.iter().position(|stream| value::text(&key) == Some(&*stream.key))
            else {
                continue;
            };
            for entry in value::list(entries).unwrap_or_default() {
                let Some([id, fields]) = value::array(entry) else { continue };
                let frame = value::list(fields).and_then(|fields| fields.into_iter().nth(1));
                if slots.is_empty() {
                    surplus.push((at, id));
                } else {
                    self.deliver(at, &id, frame.unwrap_or(Value::Nil), 1, slots)?;
                }
            }
        }
        self.give_back(wire, surplus).await
    }

    fn deliver(
        &self,
        at: usize,
        id: &Value,
        frame: Value,
        deliveries: u32,
        slots: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<(), End> {
        let (Some(id), Some(slot)) = (value::id(id), slots.pop()) else { return Ok(()) };
        // What others have put into the stream is a message too: a bad one.
        let message = Message::from_frame(value::bytes(frame).unwrap_or_default());
        let id = DeliveryId { partition: self.streams[at].partition, id };
        let delivery = Delivery { id, message, deliveries, at: value::at(id.id), slot };
        self.wish.deliveries.send(delivery).map_err(|_| End::Stopped)
    }

    /// More streams had something than there are slots: whoever has one takes it.
    async fn give_back(&mut self, wire: &mut Wire, surplus: Vec<(usize, Value)>) -> Result<(), End> {
        if surplus.is_empty() {
            return Ok(());
        }
        let mut commands = Pipeline::with_capacity(surplus.len());
        for (at, id) in surplus {
            let mut release = scripts::call(&scripts::GIVE_BACK, &[&self.streams[at].key]);
            release.arg(&*self.wish.group).arg(&*self.shared.identity);
            release.arg(value::id(&id).unwrap_or_default().to_string());
            commands.add_command(release);
        }
        wire.ask(&commands, Duration::ZERO).await?;
        self.look = Instant::now();
        Ok(())
    }

    /// The answer, if it is none of an error. A broker that has lost its groups is given them again.
    async fn checked(&self, wire: &mut Wire, answer: Value) -> Result<Option<Value>, End> {
        match answer {
            Value::ServerError(error) if error.code() == "NOGROUP" => {
                let mut commands = Pipeline::with_capacity(self.streams.len());
                for stream in &self.streams {
                    // All that is there was fired since.
                    let Subscribe { event, group, .. } = &self.wish;
                    commands.add_command(make_group(&self.shared.keys, event, group, stream, Since::Start));
                }
                wire.ask(&commands, Duration::ZERO).await?;
                Ok(None)
            }
            Value::ServerError(error) => Err(End::Lost(error.to_string().into())),
            answer => Ok(Some(answer)),
        }
    }
}

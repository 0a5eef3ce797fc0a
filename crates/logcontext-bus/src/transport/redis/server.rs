//! Reads the calls of one lane, by a connection of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value, cmd};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::clock::Clock;
use super::reading::{End, Reads};
use super::shared::Shared;
use super::stopping::Stopping;
use super::wire::Wire;
use super::{hearing, scripts, value};
use crate::transport::{EventId, Incoming, Lane, Message};

/// So many calls are read at once, at most.
const BATCH: usize = 128;

/// A server that has given no sign for so long is dead; when all are, callers are told that nobody serves.
const ALIVE: Duration = Duration::from_secs(15);

/// So often it gives one.
const SIGN: Duration = Duration::from_secs(4);

/// What was read is forgotten after so many.
const TRIM: usize = 256;

/// Says that this bus serves these calls.
pub(super) fn serve(shared: &Shared, rpc: &str, lane: Lane) -> Cmd {
    let keys = [shared.keys.calls(rpc, lane), shared.keys.servers(rpc, lane)];
    let mut serve = scripts::call(&scripts::SERVE, &keys);
    serve.arg(&*shared.identity).arg(ALIVE.as_secs() * 1000);
    serve
}

pub(super) struct Server {
    shared: Arc<Shared>,
    key: String,
    serve: Cmd,
    /// On the nested lane there are none.
    slots: Option<Arc<Semaphore>>,
    calls: mpsc::UnboundedSender<Incoming>,
    stopping: Stopping,
    /// When to say next that it is alive
    sign: tokio::time::Instant,
    clock: Option<Clock>,
    /// So many were read since the last were forgotten
    read: usize,
    last: EventId,
    /// The name of the last caller: there are fewer callers than calls.
    caller: Arc<str>,
}

impl Reads for Server {
    async fn read_all(&mut self, mut wire: Wire) -> End {
        match self.read_on(&mut wire).await {
            Err(end) => end,
        }
    }
}

impl Server {
    pub(super) fn new(
        shared: Arc<Shared>,
        rpc: &str,
        lane: Lane,
        slots: Option<Arc<Semaphore>>,
        calls: mpsc::UnboundedSender<Incoming>,
        stopping: Stopping,
    ) -> Self {
        Self {
            key: shared.keys.calls(rpc, lane),
            serve: serve(&shared, rpc, lane),
            shared,
            slots,
            calls,
            stopping,
            sign: tokio::time::Instant::now(),
            clock: None,
            read: 0,
            last: EventId::default(),
            caller: "".into(),
        }
    }

    async fn read_on(&mut self, wire: &mut Wire) -> Result<Infallible, End> {
        self.give_sign(wire).await?;
        loop {
            if tokio::time::Instant::now() >= self.sign {
                self.give_sign(wire).await?;
            }
            let Some(mut slots) = self.slots(wire).await? else { continue };
            self.read(wire, &mut slots).await?;
        }
    }

    async fn give_sign(&mut self, wire: &mut Wire) -> Result<(), End> {
        let asked = Instant::now();
        let answer = wire.ask_one(&self.serve, Duration::ZERO).await?;
        self.clock = Some(Clock::read(asked, &answer).ok_or_else(|| lost(&answer))?);
        self.sign = tokio::time::Instant::now() + SIGN;
        Ok(())
    }

    /// At least one slot, as many more as are free; nothing when it is time for a sign. Empty where none are needed.
    async fn slots(&mut self, wire: &mut Wire) -> Result<Option<Vec<OwnedSemaphorePermit>>, End> {
        let Some(slots) = &self.slots else { return Ok(Some(Vec::new())) };
        let first = tokio::select! {
            biased;
            () = self.stopping.asked() => return Err(End::Stopped),
            () = self.calls.closed() => return Err(End::Stopped),
            slot = Arc::clone(slots).acquire_owned() => slot.map_err(|_| End::Stopped)?,
            why = wire.lost() => return Err(why.into()),
            () = tokio::time::sleep_until(self.sign) => return Ok(None),
        };
        let mut taken = vec![first];
        while taken.len() < BATCH {
            let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { break };
            taken.push(slot);
        }
        Ok(Some(taken))
    }

    async fn read(&mut self, wire: &mut Wire, slots: &mut Vec<OwnedSemaphorePermit>) -> Result<(), End> {
        let wait = self.sign.saturating_duration_since(tokio::time::Instant::now());
        let wait = wait.max(Duration::from_millis(1));
        let mut commands = Pipeline::with_capacity(2);
        if self.read >= TRIM {
            // All up to here was read by one server or another: they read in order.
            self.read = 0;
            commands.cmd("XTRIM").arg(&self.key).arg("MINID").arg("~").arg(self.last.to_string());
        }
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg("servers").arg(&*self.shared.identity);
        read.arg("COUNT").arg(if self.slots.is_some() { slots.len() } else { BATCH });
        read.arg("BLOCK").arg(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        read.arg("NOACK").arg("STREAMS").arg(&self.key).arg(">");
        commands.add_command(read);
        if self.stopping.is_asked() {
            return Err(End::Stopped);
        }
        match wire.ask(&commands, wait).await?.pop() {
            None => Err(lost(&Value::Nil)),
            // When all servers were taken for dead, or the broker has forgotten all.
            Some(Value::ServerError(error)) if error.code() == "NOGROUP" => self.give_sign(wire).await,
            Some(Value::ServerError(error)) => Err(End::Lost(error.to_string().into())),
            Some(answer) => self.deliver(answer, slots),
        }
    }

    fn deliver(&mut self, answer: Value, slots: &mut Vec<OwnedSemaphorePermit>) -> Result<(), End> {
        let Some([stream]) = value::array(answer) else { return Ok(()) };
        let Some([_, entries]) = value::array(stream) else { return Ok(()) };
        for entry in value::list(entries).unwrap_or_default() {
            let Some([id, fields]) = value::array(entry) else { continue };
            let Some(id) = value::id(&id) else { continue };
            (self.read, self.last) = (self.read + 1, id);
            // What others have put into the stream is nobody's call.
            let Some([caller, frame]) = value::array(fields) else { continue };
            let from =
                value::bytes(caller).and_then(|caller| hearing::parse_caller(&caller, &mut self.caller));
            let (Some(from), Some(frame)) = (from, value::bytes(frame)) else { continue };
            let call = Incoming {
                from,
                message: Message::from_frame(frame),
                age: self.clock.map_or(Duration::ZERO, |clock| clock.since(id.0)),
                slot: slots.pop(),
            };
            self.calls.send(call).map_err(|_| End::Stopped)?;
        }
        Ok(())
    }
}

fn lost(answer: &Value) -> End {
    End::Lost(format!("an answer of another kind: {answer:?}").into())
}

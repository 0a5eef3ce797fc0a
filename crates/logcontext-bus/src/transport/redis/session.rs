//! Whoever owns the connection for commands: sends what waits, hears answers to calls, and connects again.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use redis::{Pipeline, PushInfo, PushKind, Value, cmd};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio_util::sync::CancellationToken;

use super::command::{Command, Then};
use super::hearing;
use super::keys::Keys;
use super::queues::{Batch, Waiting};
use super::shared::Shared;
use super::value;
use super::wire::Wire;
use crate::transport::backoff::Backoff;
use crate::transport::{EventId, Lane, TransportError};

/// Calls that the broker has, and that have no answer yet.
pub(super) type UnderWay = Arc<Mutex<FxHashMap<u64, Sent>>>;

/// Where a call is.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    rpc: &'static str,
    lane: Lane,
    id: EventId,
}

pub(super) struct Session {
    shared: Arc<Shared>,
    waiting: Waiting,
    /// Told when nothing more is taken.
    closing: CancellationToken,
    under_way: UnderWay,
    /// What a connection had not answered, and is to be asked again
    again: VecDeque<Command>,
    /// Channels to hear, beside that of replies
    channels: Vec<String>,
    /// Calls that were forgotten before they were sent
    forgotten: FxHashSet<u64>,
}

impl Session {
    pub(super) fn new(shared: Arc<Shared>, waiting: Waiting, closing: CancellationToken) -> Self {
        Self {
            shared,
            waiting,
            closing,
            under_way: Arc::default(),
            again: VecDeque::new(),
            channels: Vec::new(),
            forgotten: FxHashSet::default(),
        }
    }

    /// Until all is done after nothing more is taken.
    pub(super) async fn run(mut self) {
        let (mut backoff, mut has_been_connected) = (Backoff::new(), false);
        loop {
            let why = match self.connect().await {
                Ok(wire) => {
                    backoff.reset();
                    if has_been_connected {
                        self.shared.reconnects.fetch_add(1, Relaxed);
                        tracing::info!(target: "logcontext::bus", "connected to the broker again");
                    }
                    has_been_connected = true;
                    let _ = self.shared.connected.send_replace(Ok(()));
                    match self.serve(wire).await {
                        Ok(()) => return,
                        Err(why) => {
                            tracing::warn!(target: "logcontext::bus", %why, "the connection to the broker was lost");
                            why
                        }
                    }
                }
                Err(why) => why,
            };
            let _ = self.shared.connected.send_replace(Err(Arc::clone(&why)));
            for call in self.take_under_way() {
                self.shared.inbox.lost(call, Arc::clone(&why));
            }
            if self.closing.is_cancelled() {
                self.waiting.close();
                if self.waiting.is_empty() && self.again.is_empty() {
                    return;
                }
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn connect(&self) -> Result<Wire, Arc<str>> {
        let (under_way, inbox) = (Arc::clone(&self.under_way), Arc::clone(&self.shared.inbox));
        let replies = format!("{}{}", self.shared.keys.replies(), self.shared.identity);
        let channel = replies.clone().into_bytes();
        let push = move |info: PushInfo| {
            if info.kind == PushKind::Message {
                hearing::hear(info.data, &channel, &under_way, &inbox);
            }
        };
        let mut wire = Wire::open(&self.shared, Some(Box::new(push))).await?;
        let channels: Vec<String> = self.channels.iter().cloned().chain([replies]).collect();
        wire.subscribe(&channels).await?;
        Ok(wire)
    }

    /// Works for as long as the connection lasts, or until all is done.
    async fn serve(&mut self, mut wire: Wire) -> Result<(), Arc<str>> {
        // Nothing needs to be entered twice, unless the broker has forgotten it.
        let mut registered = FxHashSet::default();
        let mut batch = Batch::default();
        loop {
            batch.commands.extend(self.again.drain(..));
            if !self.next(&mut wire, &mut batch).await? {
                return Ok(());
            }
            self.gather(&mut batch).await;
            self.forget(&mut batch);
            if let Err(why) = self.hear(&mut wire, &mut batch.commands).await {
                // These were not sent.
                self.again.extend(batch.commands);
                return Err(why);
            }
            let (commands, thens) = self.pipeline(&mut batch, &mut registered);
            if commands.is_empty() {
                continue;
            }
            match wire.ask(&commands, Duration::ZERO).await {
                Ok(answers) => self.settle(&commands, thens, answers, &mut registered)?,
                Err(why) => return Err(self.lost(&commands, thens, why)),
            }
        }
    }

    /// Waits for what is next to send. `false` when all is done.
    async fn next(&mut self, wire: &mut Wire, batch: &mut Batch) -> Result<bool, Arc<str>> {
        let Self { waiting, closing, .. } = self;
        let is_closing = closing.is_cancelled();
        if is_closing {
            waiting.close();
        }
        let has_some = !batch.is_empty();
        let next = poll_fn(|cx| match waiting.poll_next(cx, batch) {
            Poll::Pending if has_some => Poll::Ready(true),
            other => other,
        });
        tokio::select! {
            biased;
            some = next => Ok(some),
            why = wire.lost() => Err(why),
            () = closing.cancelled(), if !is_closing => Ok(true),
        }
    }

    /// Whoever is about to put something in comes first: one pipeline of many costs much less than many of one.
    async fn gather(&mut self, batch: &mut Batch) {
        tokio::task::yield_now().await;
        poll_fn(|cx| {
            let _ = self.waiting.poll_next(cx, batch);
            Poll::Ready(())
        })
        .await;
    }

    /// Has the broker tell whoever handles what nobody waits for any more.
    fn forget(&mut self, batch: &mut Batch) {
        for call in batch.forgotten.drain(..) {
            let Some(sent) = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&call)
            else {
                // Answered already, or not sent yet.
                self.forgotten.insert(call);
                continue;
            };
            let keys = &self.shared.keys;
            let mut delete = cmd("XDEL");
            delete.arg(keys.calls(sent.rpc, sent.lane)).arg(sent.id.to_string());
            let mut publish = cmd("PUBLISH");
            publish.arg(keys.cancelled(sent.rpc)).arg(hearing::caller(&self.shared.identity, call));
            let tell = [delete, publish].map(|command| Command { command, then: Then::Nothing });
            batch.commands.extend(tell);
        }
    }

    /// Hears of the channels that are to be heard.
    async fn hear(&mut self, wire: &mut Wire, batch: &mut Vec<Command>) -> Result<(), Arc<str>> {
        while let Some(at) = batch.iter().position(|command| matches!(command.then, Then::Hear(..))) {
            if let Then::Hear(channel, asker) = batch.remove(at).then {
                // Where this connection is lost, the next one hears it from the start.
                let _ = asker.send(Ok(()));
                if !self.channels.contains(&channel) {
                    self.channels.push(channel.clone());
                    wire.subscribe(&[channel]).await?;
                }
            }
        }
        Ok(())
    }

    /// What of the batch is still wanted.
    fn pipeline(
        &mut self,
        batch: &mut Batch,
        registered: &mut FxHashSet<(&'static str, u16)>,
    ) -> (Pipeline, VecDeque<Then>) {
        let mut commands = Pipeline::with_capacity(batch.commands.len());
        let mut thens = VecDeque::with_capacity(batch.commands.len());
        for Command { command, then } in batch.commands.drain(..) {
            match then {
                Then::Call { call, .. } if !self.forgotten.is_empty() && self.forgotten.remove(&call) => {
                    continue;
                }
                ref then if then.is_idle() => continue,
                Then::Publish { event, partition, .. } if registered.insert((event, partition)) => {
                    let mut register = cmd("SADD");
                    register.arg(self.shared.keys.registry()).arg(Keys::entry(event, partition));
                    commands.add_command(register);
                    thens.push_back(Then::Nothing);
                }
                _ => {}
            }
            commands.add_command(command);
            thens.push_back(then);
        }
        if batch.has_all_calls {
            self.forgotten.clear();
        }
        (commands, thens)
    }

    /// Says what has become of each.
    fn settle(
        &mut self,
        commands: &Pipeline,
        thens: VecDeque<Then>,
        answers: Vec<Value>,
        registered: &mut FxHashSet<(&'static str, u16)>,
    ) -> Result<(), Arc<str>> {
        let mut lost = None;
        for ((command, then), answer) in commands.cmd_iter().zip(thens).zip(answers) {
            match answer {
                // The broker has forgotten all scripts: the next connection brings them.
                Value::ServerError(error) if error.code() == "NOSCRIPT" => {
                    let why = lost.get_or_insert_with(|| Arc::from("the broker has lost its scripts"));
                    match then {
                        Then::Again(_) => {
                            self.again.push_back(Command { command: command.clone(), then });
                        }
                        then => then.fail(TransportError::Lost(Arc::clone(why))),
                    }
                }
                Value::ServerError(error) => {
                    if let Then::Publish { event, partition, .. } = then {
                        // Its stream may not have been entered into the registry either: again with the next one.
                        registered.remove(&(event, partition));
                    }
                    then.fail(TransportError::Refused(error.to_string()));
                }
                answer => self.answer(then, answer),
            }
        }
        lost.map_or(Ok(()), Err)
    }

    fn answer(&self, then: Then, answer: Value) {
        let odd = |answer: &Value| TransportError::Refused(format!("an answer of another kind: {answer:?}"));
        // Whoever has gone meanwhile need not know.
        match then {
            Then::Answer(asker) | Then::Again(asker) => drop(asker.send(Ok(answer))),
            Then::Publish { asker, .. } => {
                drop(asker.send(value::id(&answer).ok_or_else(|| odd(&answer))));
            }
            Then::Call { call, rpc, lane, asker } => {
                if let Some(id) = value::id(&answer) {
                    let sent = Sent { rpc, lane, id };
                    self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(call, sent);
                } else {
                    self.shared.inbox.unserved(call);
                }
                drop(asker.send(Ok(())));
            }
            Then::Reply(asker) => drop(asker.send(Ok(value::count(&answer).is_some_and(|heard| heard > 0)))),
            Then::Hear(_, asker) => drop(asker.send(Ok(()))),
            Then::Nothing => {}
        }
    }

    /// Nobody knows what has become of these.
    fn lost(&mut self, commands: &Pipeline, thens: VecDeque<Then>, why: Arc<str>) -> Arc<str> {
        for (command, then) in commands.cmd_iter().zip(thens) {
            match then {
                Then::Again(_) => self.again.push_back(Command { command: command.clone(), then }),
                then => then.fail(TransportError::Lost(Arc::clone(&why))),
            }
        }
        why
    }

    fn take_under_way(&self) -> Vec<u64> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.drain().map(|(call, _)| call).collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let why: Arc<str> = "the bus is closed".into();
        for call in self.take_under_way() {
            self.shared.inbox.lost(call, Arc::clone(&why));
        }
        let _ = self.shared.connected.send_replace(Err(why));
    }
}

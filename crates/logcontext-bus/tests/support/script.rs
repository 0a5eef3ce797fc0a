//! A transport whose events come and go as the test says; all else of it is a broker in memory.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use logcontext_bus::transport::{
    CallTransport, Connector, DeadLetter, Delivery, DeliveryId, Doing, EventId, EventLog, EventTransport,
    Lease, Leases, Link, Memory, Message, Publish, Schemas, Status, Subscribe, Subscription, Transport,
    TransportError,
};
use logcontext_bus::{Bus, ConnectError, Event};
use tokio::sync::watch;

use super::World;

/// What the listener has asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Acknowledge(Vec<DeliveryId>),
    Release(Vec<DeliveryId>),
    Renew(Vec<DeliveryId>),
    Bury(DeliveryId, String),
    Stop,
    LetGo,
    /// It was told that this one has become another's.
    Lost(DeliveryId),
    /// What a test has to say about an event in between.
    Note(DeliveryId, &'static str),
}

pub struct State {
    pub wishes: Vec<Subscribe>,
    pub asked: Vec<Asked>,
    /// What the broker knows to be done.
    pub over: Vec<DeliveryId>,
    /// What is answered to the next renewals, of those that are asked for.
    pub lost: Vec<DeliveryId>,
    /// What publishing is answered with, the last one for ever; `None` is no answer.
    pub published: Vec<Option<Result<EventId, TransportError>>>,
    pub messages: Vec<Message>,
    pub status: Status,
    pub refuse: Option<TransportError>,
    /// The next subscription fails with this.
    pub no_subscription: Option<TransportError>,
    /// What a renewal of a lease is answered with; `None` is no answer.
    pub lease: Option<Result<bool, TransportError>>,
    /// What a subscription brings before it is known to be one.
    pub early: Option<(DeliveryId, Message)>,
}

#[derive(Clone)]
pub struct Script {
    memory: Memory,
    pub state: Arc<Mutex<State>>,
    /// Are commands answered?
    pub answers: watch::Sender<bool>,
}

impl Script {
    pub fn new() -> Self {
        let state = State {
            wishes: Vec::new(),
            asked: Vec::new(),
            over: Vec::new(),
            lost: Vec::new(),
            published: vec![Some(Ok(EventId(1, 0)))],
            messages: Vec::new(),
            status: Status::new(),
            refuse: None,
            no_subscription: None,
            lease: Some(Ok(true)),
            early: None,
        };
        Self { memory: Memory::new(), state: Arc::new(Mutex::new(state)), answers: watch::channel(true).0 }
    }

    pub fn bus(&self) -> Bus {
        Bus::over(&World::config(), self).expect("a bus")
    }

    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// What was asked for so far without being taken.
    pub fn peek(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The message that a bus makes of an event.
    pub async fn message<E: Event>(&self, bus: &Bus, event: &E) -> Message {
        bus.fire(event).await.expect("fired");
        self.state.lock().unwrap().messages.last().expect("there").clone()
    }

    /// Delivers it, if there is a slot. Answers whether there was.
    pub fn deliver(&self, id: DeliveryId, deliveries: u32, message: &Message) -> bool {
        let state = self.state.lock().unwrap();
        let wish = state.wishes.last().expect("somebody listens");
        let Ok(slot) = Arc::clone(&wish.slots).try_acquire_owned() else { return false };
        let delivery = Delivery { id, message: message.clone(), deliveries, at: SystemTime::now(), slot };
        wish.deliveries.send(delivery).is_ok()
    }

    /// So many slots are free.
    pub fn free(&self) -> usize {
        self.state.lock().unwrap().wishes.last().expect("somebody listens").slots.available_permits()
    }

    /// Takes the subscription away, as a transport does that is closed.
    pub fn close(&self) {
        self.state.lock().unwrap().wishes.clear();
    }
}

pub fn at(n: u64) -> DeliveryId {
    DeliveryId { partition: 0, id: EventId(n, 0) }
}

impl Connector for Script {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        let memory = self.memory.connect(link)?;
        Ok(Arc::new(Scripted { memory, script: self.clone() }))
    }
}

struct Scripted {
    memory: Arc<dyn Transport>,
    script: Script,
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl Transport for Scripted {
    fn name(&self) -> &'static str {
        "script"
    }
    fn events(&self) -> &dyn EventTransport {
        self
    }
    fn calls(&self) -> &dyn CallTransport {
        self.memory.calls()
    }
    fn log(&self) -> &dyn EventLog {
        self.memory.log()
    }
    fn leases(&self) -> &dyn Leases {
        self
    }
    fn schemas(&self) -> &dyn Schemas {
        self.memory.schemas()
    }
    fn status(&self) -> Status {
        self.script.state.lock().unwrap().status.clone()
    }
    fn connected(&self) -> Doing<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn close(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.memory.close(deadline)
    }
}

impl Leases for Scripted {
    fn acquire(&self, _: &str, _: Duration) -> Doing<'_, Option<Arc<dyn Lease>>> {
        Box::pin(async { Ok(Some(Arc::new(Leased(self.script.clone())) as Arc<dyn Lease>)) })
    }

    fn take_part(&self, name: &str, time: Duration) -> Doing<'_, usize> {
        self.memory.leases().take_part(name, time)
    }

    fn leave(&self, name: &str) -> Doing<'_, ()> {
        self.memory.leases().leave(name)
    }
}

struct Leased(Script);

impl fmt::Debug for Leased {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leased")
    }
}

impl Lease for Leased {
    fn renew(&self) -> Doing<'_, bool> {
        let answer = self.0.state.lock().unwrap().lease.clone();
        Box::pin(async {
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn release(&self) -> Doing<'_, ()> {
        Box::pin(self.0.ask(Asked::LetGo))
    }
}

impl EventTransport for Scripted {
    fn publish(&self, event: Publish) -> Doing<'_, EventId> {
        Box::pin(async move {
            let answer = {
                let mut state = self.script.state.lock().unwrap();
                state.messages.push(event.message);
                if state.published.len() > 1 { state.published.remove(0) } else { state.published[0].clone() }
            };
            match answer {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }

    fn subscribe(&self, wish: Subscribe) -> Doing<'_, Arc<dyn Subscription>> {
        Box::pin(async move {
            let early = {
                let mut state = self.script.state.lock().unwrap();
                if let Some(error) = state.no_subscription.take() {
                    return Err(error);
                }
                let has_slots = wish.slots.available_permits() > 0;
                state.wishes.push(wish);
                state.early.take_if(|_| has_slots)
            };
            if let Some((id, message)) = early {
                assert!(self.script.deliver(id, 1, &message));
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
            }
            Ok(Arc::new(Subscribed(self.script.clone())) as Arc<dyn Subscription>)
        })
    }
}

struct Subscribed(Script);

impl Script {
    async fn ask(&self, asked: Asked) -> Result<(), TransportError> {
        self.state.lock().unwrap().asked.push(asked.clone());
        let _ = self.answers.subscribe().wait_for(|answers| *answers).await;
        let over = match asked {
            Asked::Acknowledge(ids) => ids,
            Asked::Bury(id, _) => vec![id],
            _ => Vec::new(),
        };
        self.state.lock().unwrap().over.extend(over);
        match &self.state.lock().unwrap().refuse {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscribed")
    }
}

impl Subscription for Subscribed {
    fn acknowledge(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(self.0.ask(Asked::Acknowledge(ids)))
    }

    fn renew(&self, ids: Vec<DeliveryId>) -> Doing<'_, Vec<DeliveryId>> {
        Box::pin(async move {
            // At once, also while nothing else is answered: so what is known of it is known in order.
            let mut state = self.0.state.lock().unwrap();
            state.asked.push(Asked::Renew(ids.clone()));
            if let Some(error) = &state.refuse {
                return Err(error.clone());
            }
            let lost: Vec<_> = state.lost.extract_if(.., |id| ids.contains(id)).collect();
            state.asked.extend(lost.iter().copied().map(Asked::Lost));
            Ok(lost)
        })
    }

    fn release(&self, ids: Vec<DeliveryId>) -> Doing<'_, ()> {
        Box::pin(self.0.ask(Asked::Release(ids)))
    }

    fn bury(&self, id: DeliveryId, letter: DeadLetter) -> Doing<'_, ()> {
        Box::pin(self.0.ask(Asked::Bury(id, letter.reason)))
    }

    fn stop(&self) -> Doing<'_, ()> {
        Box::pin(async {
            self.0.ask(Asked::Stop).await?;
            // Who listens is brought nothing more.
            self.0.state.lock().unwrap().wishes.clear();
            Ok(())
        })
    }
}

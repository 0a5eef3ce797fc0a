//! Beginning to listen.

use std::future::Future;
use std::sync::Arc;

use logcontext::background;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::engine::{Begun, Engine};
use super::figures::Figures;
use super::listener::{Listener, ListenerState};
use super::shared::{Control, Shared};
use super::{Listen, Rules};
use crate::error::ListenError;
use crate::fire::MAX_PARTITIONS;
use crate::name;
use crate::own_group::{self, OwnGroup};
use crate::transport::{Delivery, Subscribe, Subscription, TransportError};
use crate::within::{pause, waiting, within};

impl Listen {
    /// Begins to listen. When this completes, whatever is fired afterwards will come, also if this process dies.
    ///
    /// # Errors
    /// Those of [`ListenError`]; of the broker's, it waits for it as long as the
    /// [configuration](crate::BusConfig::start_timeout) says.
    pub async fn start(self) -> Result<Listener, ListenError> {
        let rules = self.check()?;
        let inner = Arc::clone(&self.inner);
        let event = self.what.event;
        let taken = || ListenError::Taken { event, listener: (*self.name).to_owned() };
        let name = inner.listeners.take(event, &self.name).ok_or_else(taken)?;
        // No name has a colon in it: no two services and listeners make the same group.
        let group: Arc<str> = if self.is_everywhere {
            own_group::name(&inner.identity, &self.name)
        } else {
            format!("{}:{}", inner.config.service, self.name)
        }
        .into();

        let (deliver, deliveries) = mpsc::unbounded_channel();
        let slots = Arc::new(Semaphore::new(rules.hold));
        let wish = Wish { group: &group, rules, slots: &slots, deliver: &deliver };
        let own = if self.is_everywhere {
            Some(self.persistently(|| OwnGroup::claim(&inner, event, &group)).await?)
        } else {
            None
        };
        let subscription = self.subscribe(&wish).await?;

        let figures = Arc::new(Figures::new(&inner.config.service, event, &self.name));
        let source: Arc<dyn logcontext::source::Source> = figures.clone();
        inner.supervisor.register(&source);
        inner.upkeep.look_after(&inner, event);
        let (state, seen) = watch::channel(ListenerState::Listening);
        let control = Arc::new(Control { stop: CancellationToken::new(), state });
        let process = |name: String| background::process(&inner.supervisor, &name).origin(self.origin);
        let running = process(format!("{event}-{}-loop", self.name));
        let shared = Arc::new(Shared {
            process: process(
                self.called.as_deref().map_or_else(|| format!("{event}-{}", self.name), str::to_owned),
            ),
            event,
            version: self.what.version,
            partitions: self.what.partitions,
            listener: (*self.name).into(),
            group: Arc::clone(&group),
            rules,
            handler: self.what.handler,
            check: self.what.check,
            figures,
            control: Arc::clone(&control),
            inner: Arc::clone(&inner),
        });
        let deliver = rules.is_partitioned.then_some(deliver);
        let begun = Begun { shared, name, subscription, slots, deliver, deliveries };
        let engine = Engine::new(begun);
        let _entered = inner.runtime.enter();
        drop(running.run(|context| context.call_depth(0), engine.run()));
        let listener = Listener { event, name: self.name, group, control, state: seen };
        if let Some(own) = own {
            let (ended, running) = (listener.clone(), inner.listeners_running.begin());
            drop(process(format!("{event}-{}-group", listener.name)).run(
                |context| context.call_depth(0),
                async move {
                    own.keep_until(ended.stopped()).await;
                    drop(running);
                },
            ));
        }
        Ok(listener)
    }

    fn check(&self) -> Result<Rules, ListenError> {
        name::check("an event", self.what.event)?;
        name::check("a listener", &self.name)?;
        self.called.as_ref().map_or(Ok(()), |called| name::check("handlers", called))?;
        let partitions = self.what.partitions;
        if !(1..=MAX_PARTITIONS).contains(&partitions) {
            let event = self.what.event;
            return Err(ListenError::Setting(format!(
                "{event} has {partitions} partitions: expected 1 to {MAX_PARTITIONS}"
            )));
        }
        let rules = self.rules()?;
        if self.inner.closing.is_cancelled() {
            return Err(ListenError::Closed);
        }
        if self.inner.supervisor.is_shutting_down() {
            return Err(ListenError::ShuttingDown);
        }
        Ok(rules)
    }

    /// The subscription to all partitions; none where they are leased one by one, but then the group is there.
    async fn subscribe(&self, wish: &Wish<'_>) -> Result<Option<Arc<dyn Subscription>>, ListenError> {
        let (inner, is_partitioned) = (&self.inner, wish.rules.is_partitioned);
        let begin = || Subscribe {
            event: self.what.event.into(),
            group: Arc::clone(wish.group),
            partitions: (0..self.what.partitions).collect(),
            is_leased: false,
            with_retried: !is_partitioned,
            since: self.since,
            claim_after: inner.config.claim_after,
            // Who gets no slot is brought nothing.
            slots: if is_partitioned { Arc::new(Semaphore::new(0)) } else { Arc::clone(wish.slots) },
            deliveries: wish.deliver.clone(),
        };
        self.persistently(|| async {
            let subscription = inner.transport.events().subscribe(begin()).await?;
            if is_partitioned {
                subscription.stop().await?;
                return Ok(None);
            }
            Ok(Some(subscription))
        })
        .await
    }

    /// Asks the broker until it has answered, for as long as the configuration says.
    async fn persistently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ListenError>
    where
        F: Future<Output = Result<T, TransportError>>,
    {
        let inner = &self.inner;
        let time = inner.config.start_timeout;
        let asked = within(&inner.runtime, time, async {
            loop {
                match ask().await {
                    Err(TransportError::Lost(_)) => {}
                    result => return result,
                }
                pause(&inner.runtime, std::time::Duration::from_millis(50)).await;
                inner.transport.connected().await?;
            }
        });
        match asked.await {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(TransportError::Refused(why))) => Err(ListenError::Refused(why)),
            Some(Err(_)) => Err(ListenError::Closed),
            None => Err(ListenError::Timeout { after: time, waiting: waiting(&*inner.transport) }),
        }
    }
}

/// What a subscription is made of.
struct Wish<'a> {
    group: &'a Arc<str>,
    rules: Rules,
    slots: &'a Arc<Semaphore>,
    deliver: &'a mpsc::UnboundedSender<Delivery>,
}

//! Listeners that each process has for itself; and what their handlers are called.
mod support;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use logcontext::{Supervisor, current_context};
use logcontext_bus::transport::{Connector, Link, Memory, Transport};
use logcontext_bus::{Bus, BusConfig, ConnectError, ListenError, Listener, OnError, Retention};
use support::figures::Figures;
use support::{Changed, World, changed, complaints, on_both, paused, paused_and, tell};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

const NAME: &str = "presence.changed";
const EVERY: Duration = Duration::from_secs(10);

fn keeping(config: BusConfig) -> BusConfig {
    BusConfig { retention: Retention::default().history(5), ..config }
}

/// Connects one bus, whose connection can be cut under it for ever: it learns nothing more, and can say nothing more.
struct Line(Memory, OnceLock<Arc<dyn Transport>>);

impl Connector for Line {
    fn connect(&self, link: Link) -> Result<Arc<dyn Transport>, ConnectError> {
        let transport = self.0.connect(link)?;
        Ok(Arc::clone(self.1.get_or_init(|| transport)))
    }
}

struct Service {
    supervisor: Supervisor,
    bus: Bus,
    listener: Listener,
    heard: UnboundedReceiver<u64>,
}

impl Service {
    async fn start(world: &World) -> Self {
        let (supervisor, bus) = world.service(keeping);
        Self::over(supervisor, bus).await
    }

    async fn over(supervisor: Supervisor, bus: Bus) -> Self {
        let (tell, heard) = tell();
        let handler = move |event: Changed| {
            let _ = tell.send(event.n);
            async {}
        };
        let listener = bus.listen::<Changed>("news", handler).every_process().start().await.unwrap();
        Self { supervisor, bus, listener, heard }
    }
}

async fn groups(bus: &Bus) -> Vec<String> {
    bus.groups(NAME).await.unwrap()
}

#[test]
fn each_process_hears_each_event() {
    on_both(|world| async move {
        let mut services = Vec::new();
        for _ in 0..3 {
            services.push(Service::start(&world).await);
        }
        let bus = world.bus();
        for n in 0..100 {
            bus.fire(&changed("alice", n)).await.unwrap();
        }
        for service in &mut services {
            let mut heard = Vec::new();
            for _ in 0..100 {
                heard.push(service.heard.recv().await.unwrap());
            }
            heard.sort_unstable();
            assert!(heard.into_iter().eq(0..100));
            let own = service.bus.identity().strip_prefix("presence/").unwrap();
            assert_eq!(service.listener.group(), format!("presence:news@{own}"));
        }
        let mut own: Vec<_> = services.iter().map(|it| it.listener.group().to_owned()).collect();
        own.sort_unstable();
        assert_eq!(groups(&bus).await, own);
        services[0].listener.stop();
        services[0].listener.stopped().await;
        services[1].bus.close(Duration::from_secs(10)).await;
        services[2].supervisor.shutdown(Duration::from_secs(10)).await;
        services[0].supervisor.shutdown(Duration::from_secs(10)).await;
        assert!(groups(&bus).await.is_empty(), "who ends in order is forgotten at once");
    });
}

#[test]
fn who_lives_is_not_forgotten_and_who_is_gone_is() {
    paused(|world| async move {
        let mut lives = Service::start(&world).await;
        let (supervisor, line) = (Supervisor::new("gone"), Line(world.broker.clone(), OnceLock::new()));
        let connecting = || Bus::over(&keeping(World::config()), &line).unwrap();
        let bus = supervisor.context("startup").start().scope(connecting);
        let gone = Service::over(supervisor, bus).await;
        let bus = world.bus();
        sleep(Duration::from_secs(600)).await;
        assert_eq!(groups(&bus).await.len(), 2);
        // As if it was killed.
        let group = gone.listener.group().to_owned();
        line.1.get().unwrap().close(Duration::ZERO).await;
        gone.supervisor.shutdown(Duration::ZERO).await;
        drop(gone);
        assert!(groups(&bus).await.contains(&group), "it could not say that it goes");
        for n in 0..50 {
            bus.fire(&changed("alice", n)).await.unwrap();
            assert_eq!(lives.heard.recv().await, Some(n));
        }
        sleep(EVERY * 8).await;
        assert_eq!(groups(&bus).await, [lives.listener.group()], "and not {group}");
        let kept = logcontext_bus::transport::Page { before: None, limit: 100 };
        assert_eq!(bus.history(NAME, kept).await.unwrap().len(), 5, "it holds nothing back");
        lives.supervisor.shutdown(Duration::from_secs(10)).await;
    });
}

#[test]
fn how_far_they_are_behind_is_shown_in_one_series() {
    paused(|world| async move {
        let services = [Service::start(&world).await, Service::start(&world).await];
        sleep(EVERY * 2).await;
        let looks_after = |service: &&Service| {
            Figures::of(&service.supervisor).values.iter().any(|(name, ..)| *name == "bus_group_unread")
        };
        let seen: Vec<_> = services.iter().filter(looks_after).collect();
        assert_eq!(seen.len(), 1);
        let figures = Figures::of(&seen[0].supervisor);
        let all = figures.values.iter().filter(|(name, ..)| *name == "bus_group_unread");
        let groups: Vec<_> =
            all.flat_map(|(_, labels, _)| labels).filter(|(key, _)| key == "group").collect();
        assert_eq!(groups, [&("group".to_owned(), "presence:news@".to_owned())]);
        for service in services {
            service.supervisor.shutdown(Duration::from_secs(10)).await;
        }
    });
}

#[test]
fn what_fails_is_logged_and_leaves_no_dead_letter_unless_told_otherwise() {
    paused_and(
        |world| async move {
            let bus = world.bus();
            let fails = |_: Changed| async { Err::<(), _>("it fails") };
            let logged = bus.listen("logged", fails).every_process().start().await.unwrap();
            bus.fire(&changed("alice", 1)).await.unwrap();
            support::done(&bus, NAME, logged.group()).await;
            assert!(bus.dead_letters(NAME, 10).await.unwrap().is_empty());
            logged.stop();
            logged.stopped().await;
            let kept = bus.listen("kept", fails).every_process().on_error(OnError::DeadLetter);
            let kept = kept.start().await.unwrap();
            bus.fire(&changed("alice", 2)).await.unwrap();
            support::done(&bus, NAME, kept.group()).await;
            assert_eq!(bus.dead_letters(NAME, 10).await.unwrap().len(), 1);
        },
        |test| assert!(complaints(test).len() >= 2),
    );
}

#[test]
fn handlers_are_called_what_the_listener_says() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let handler = move |_: Changed| {
            let tell = tell.clone();
            async move {
                let context = current_context();
                let _ = tell.send((context.name().to_owned(), context.label().map(str::to_owned)));
            }
        };
        let listen = bus.listen::<Changed>("sender", handler).called("replication-PresenceChanged");
        let listener = listen.start().await.unwrap();
        assert_eq!(listener.group(), "presence:sender", "whose name it has not");
        for n in 0..2 {
            bus.fire(&changed("alice", n)).await.unwrap();
            let (name, label) = told.recv().await.unwrap();
            assert_eq!(name, format!("replication-PresenceChanged-{n}"));
            assert_eq!(label.as_deref(), Some("replication-PresenceChanged"));
        }
    });
}

#[test]
fn what_cannot_be_is_refused() {
    paused(|world| async move {
        let bus = world.bus();
        let listen = || bus.listen("news", |_: Changed| async {});
        let refused = listen().every_process().partitioned().start().await.unwrap_err();
        assert!(matches!(refused, ListenError::Setting(_)), "{refused}");
        let refused = listen().called("no name!").start().await.unwrap_err();
        assert!(refused.to_string().contains("the name of handlers"), "{refused}");
    });
}

//! What a group could not handle, and what may be done about it.
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use logcontext_bus::transport::{EventId, Page};
use logcontext_bus::{BrokerError, Delivered};
use support::{Changed, changed, done, on_both, tell};

const NAME: &str = "presence.changed";
const GROUP: &str = "presence:sender";

#[test]
fn one_that_is_tried_again_goes_to_its_own_group_as_if_it_was_new() {
    on_both(|world| async move {
        let bus = world.bus();
        let (tell, mut told) = tell();
        let is_mended = Arc::new(AtomicBool::new(false));
        for name in ["sender", "audit"] {
            let (tell, is_mended) = (tell.clone(), Arc::clone(&is_mended));
            let handler = move |event: Changed, about: Delivered| {
                let told = (name, event.n, about.deliveries(), about.is_retried_dead_letter());
                let _ = tell.send(told);
                let is_fine = name == "audit" || is_mended.load(Relaxed);
                async move { if is_fine { Ok(()) } else { Err("not yet") } }
            };
            bus.listen::<(Changed, Delivered)>(name, handler).in_order().start().await.unwrap();
        }
        bus.fire(&changed("alice", 1)).await.unwrap();
        let mut got = [told.recv().await.unwrap(), told.recv().await.unwrap()];
        got.sort_unstable();
        assert_eq!(got, [("audit", 1, 1, false), ("sender", 1, 1, false)]);
        done(&bus, NAME, GROUP).await;
        let letters = bus.dead_letters(NAME, 10).await.unwrap();
        assert_eq!((letters.len(), &*letters[0].group, &*letters[0].reason), (1, GROUP, "not yet"));
        is_mended.store(true, Relaxed);
        assert!(bus.retry_dead_letter(NAME, letters[0].id).await.unwrap());
        assert_eq!(told.recv().await, Some(("sender", 1, 1, true)));
        done(&bus, NAME, GROUP).await;
        assert_eq!(bus.dead_letter_count(NAME).await.unwrap(), 0);
        assert!(told.try_recv().is_err(), "the other group has had it");
        assert!(!bus.retry_dead_letter(NAME, letters[0].id).await.unwrap());
        assert!(!bus.drop_dead_letter(NAME, EventId(1, 1)).await.unwrap());
    });
}

#[test]
fn what_was_fired_is_kept_to_be_looked_at_and_groups_can_be_forgotten() {
    on_both(|world| async move {
        let bus = world.bus();
        let listener = bus.listen("sender", |_: Changed| async {}).start().await.unwrap();
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(bus.fire(&changed("alice", n)).await.unwrap());
        }
        done(&bus, NAME, GROUP).await;
        let page = |before, limit| bus.history(NAME, Page { before, limit });
        let newest: Vec<_> = page(None, 2).await.unwrap().into_iter().map(|event| event.id).collect();
        assert_eq!(newest, [ids[4], ids[3]]);
        let older: Vec<_> = page(Some(ids[3]), 10).await.unwrap().into_iter().map(|event| event.id).collect();
        assert_eq!(older, [ids[2], ids[1], ids[0]]);
        listener.stop();
        listener.stopped().await;
        assert!(bus.forget_group(NAME, GROUP).await.unwrap());
        assert!(!bus.forget_group(NAME, GROUP).await.unwrap());
        assert!(bus.groups(NAME).await.unwrap().is_empty());
        assert!(matches!(bus.groups("no name").await, Err(BrokerError::Name(_))));
        bus.close(std::time::Duration::from_secs(1)).await;
        assert_eq!(bus.groups(NAME).await, Err(BrokerError::Closed));
    });
}

//! What goes wrong while users change their presence.

use std::time::Duration;

use logcontext_testservers::Stop;

use super::hubs::World;
use super::load::Load;

/// What is done, at which part of the load.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    KillApi,
    KillSender,
    /// Hub `three` is away, and the one that writes down.
    HubsAway,
    HubsBack,
    KillBroker,
    KillDatabase,
}

/// Each kind at least twice; in which order, and whom it hits, differs from run to run.
pub(crate) struct Chaos {
    random: u64,
    plan: Vec<Trouble>,
}

impl Chaos {
    pub(crate) fn new() -> Self {
        use Trouble::{HubsAway, HubsBack, KillApi, KillBroker, KillDatabase, KillSender};
        let seed = std::env::var("PRESENCE_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) | 1);
        println!("PRESENCE_TEST_SEED={seed}");
        let mut chaos = Self { random: seed, plan: Vec::new() };
        let mut others = vec![
            KillApi,
            KillApi,
            KillApi,
            KillSender,
            KillSender,
            KillSender,
            KillSender,
            KillBroker,
            KillBroker,
            KillDatabase,
            KillDatabase,
        ];
        while !others.is_empty() {
            let next = chaos.below(others.len());
            chaos.plan.push(others.swap_remove(next));
        }
        chaos.plan.insert(3, HubsAway);
        chaos.plan.insert(8, HubsBack);
        chaos
    }

    /// Answers how often something was disturbed.
    pub(crate) fn disturb(mut self, world: &mut World, load: &Load) -> usize {
        let plan = std::mem::take(&mut self.plan);
        let parts = (plan.len() + 2) as f64;
        let begin = |n: usize| load.part((n + 1) as f64 / parts);
        load.go_on_until(begin(0));
        for (n, trouble) in plan.iter().enumerate() {
            wait_until_for("the load goes on", Duration::from_secs(120), || {
                load.acknowledged() >= begin(n) || load.is_over()
            });
            assert!(!load.is_over(), "it was too short for {trouble:?}");
            // During the trouble as well, but no further than to the next one, however long this one takes.
            load.go_on_until(begin(n + 1));
            println!("{trouble:?} after {} changes", load.acknowledged());
            self.make(*trouble, world);
        }
        load.go_on_until(usize::MAX);
        plan.len()
    }

    fn make(&mut self, trouble: Trouble, world: &mut World) {
        match trouble {
            Trouble::KillApi => {
                let which = self.below(world.apis.len());
                world.apis[which].kill();
                world.apis[which].come_back();
            }
            Trouble::KillSender => {
                let which = self.below(world.senders.len());
                world.senders[which].kill();
                world.senders[which].come_back();
            }
            Trouble::HubsAway => {
                world.told[1].kill();
                world.recorder.set_away(true);
            }
            Trouble::HubsBack => {
                world.told[1].come_back();
                world.recorder.set_away(false);
            }
            Trouble::KillBroker => world.broker.kill_and_start_again(),
            Trouble::KillDatabase => {
                world.postgres.stop(Stop::Immediate);
                world.postgres.start_again();
            }
        }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % bound as u64) as usize
    }
}

/// Waits for as long as one says.
pub(crate) fn wait_until_for(what: &str, time: Duration, mut done: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !done() {
        assert!(begun.elapsed() < time, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

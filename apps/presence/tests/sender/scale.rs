//! A thousand hubs, and few of them with something to be told.

use presence::federation::HubSettings;
use presence::presence::State;

use super::common::Own;
use super::hub::Hub;
use super::world::{World, until};

#[test]
fn a_thousand_hubs_that_are_told_nothing_cost_no_tasks() {
    let hub = Hub::start("s3cret");
    let mut world = World::new(Own::sqlite(), &[("two", &hub)]);
    for n in 1..1_000 {
        let settings = HubSettings { secret: format!("secret-{n}").parse().unwrap(), ..hub.settings() };
        world.settings.hubs.insert(format!("hub-{n}"), settings);
    }
    let (api, sender) = (world.api(), world.sender());
    world.until_live(1_000);
    // One follows, and is told.
    api.follow("two", "alice", true);
    api.set("alice", State::Online);
    api.until_unhandled(0);
    assert_eq!(hub.knows("alice"), Some((1, "online".to_owned())));
    // Of each of the 16 shards: what holds it, two listeners with their readers, and a timer's.
    until("nothing is done for those who are told nothing", || sender.tasks() < 16 * 10);
    println!("{} tasks", sender.tasks());
    let attempts = hub.seen().attempts;
    assert_eq!(attempts, hub.sizes().len(), "nobody else was asked");
    sender.end();
    api.end();
}

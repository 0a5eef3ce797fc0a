//! One relay of all sends: what becomes of the lease when processes come, end and die.

#![cfg(feature = "outbox")]

mod stored;
mod support;

use std::time::Duration;

use logcontext_bus::OutboxConfig;
use logcontext_db::Error;
use stored::broker::Broker;
use stored::{Own, PATIENCE, Process, Set, fire, is_leased, number, open, quick, rows, set, until, with};

/// Nobody gets the lease because its time is over.
fn for_long() -> OutboxConfig {
    OutboxConfig { lease: Duration::from_secs(600), ..quick() }
}

fn for_short() -> OutboxConfig {
    OutboxConfig { lease: Duration::from_millis(300), ..quick() }
}

fn events(from: u64, to: u64) -> Vec<Set> {
    (from..to).map(|n| set(&format!("user-{}", n % 7), n)).collect()
}

fn sorted(broker: &Broker) -> Vec<u64> {
    let mut numbers: Vec<_> = broker.published().iter().map(|set| set.n).collect();
    numbers.sort_unstable();
    numbers
}

/// Those of each key in order, each of them at least once.
#[track_caller]
fn assert_in_order(broker: &Broker, count: u64) {
    let published = broker.published();
    let mut numbers = sorted(broker);
    numbers.dedup();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    for user in 0..7 {
        let user = format!("user-{user}");
        let mut first = Vec::new();
        for set in published.iter().filter(|set| set.user == user) {
            if !first.contains(&set.n) {
                first.push(set.n);
            }
        }
        assert!(first.is_sorted(), "{user}: {first:?}");
    }
}

/// As if another process had the lease, and for long.
const TAKE: &str = "UPDATE logcontext_outbox_lease SET holder = 'another', until = until + 3600000";
const FREE: &str = "UPDATE logcontext_outbox_lease SET until = 0";

stored::on_both_databases! {
    fn one_of_two_sends_and_at_its_end_the_other_goes_on_at_once(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_long()).await;
            until("it has the lease", async || one.leads()).await;
            let two = Process::start(&url, &broker, for_long()).await;
            // Also what the other one fires.
            fire(&two.database, &two.bus, &events(0, 50)).await.unwrap();
            until("all are sent", async || rows(&two.database).await == 0).await;
            assert!(one.leads() && !two.leads());
            one.end().await;
            until("the other one has the lease", async || two.leads()).await;
            fire(&two.database, &two.bus, &events(50, 100)).await.unwrap();
            until("all are sent", async || rows(&two.database).await == 0).await;
            assert_eq!(sorted(&broker), (0..100).collect::<Vec<_>>(), "once each");
            two.end().await;
        });
    }

    fn what_a_dead_one_had_is_sent_by_another_when_its_time_is_over(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_short()).await;
            until("it has the lease", async || one.leads()).await;
            let two = Process::start(&url, &broker, for_short()).await;
            broker.take(40);
            fire(&one.database, &one.bus, &events(0, 100)).await.unwrap();
            until("it is in the middle", async || broker.published().len() == 40).await;
            one.kill().await;
            assert!(is_leased(&two.database).await && !two.leads(), "it could not let go");
            broker.take_all();
            until("all are sent", async || rows(&two.database).await == 0).await;
            assert!(two.leads());
            assert_in_order(&broker, 100);
            two.end().await;
        });
    }

    fn one_that_loses_the_lease_sends_no_more(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_short()).await;
            until("it has the lease", async || one.leads()).await;
            broker.take(10);
            fire(&one.database, &one.bus, &events(0, 100)).await.unwrap();
            until("it is in the middle", async || broker.published().len() == 10).await;
            // As if it had stood still for too long.
            one.database.execute("take", TAKE, ()).await.unwrap();
            until("it has noticed", async || !one.leads()).await;
            broker.take_all();
            until("it has forgotten what the broker has", async || rows(&one.database).await <= 90).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            let sent = broker.published().len();
            assert!(sent <= 10, "{sent}");
            one.database.execute("free", FREE, ()).await.unwrap();
            until("all are sent", async || rows(&one.database).await == 0).await;
            assert_in_order(&broker, 100);
            one.end().await;
        });
    }

    fn one_that_loses_the_lease_while_there_is_nothing_to_send_asks_for_it_again(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_short()).await;
            until("it has the lease", async || one.leads()).await;
            one.database.execute("take", TAKE, ()).await.unwrap();
            until("it has noticed", async || !one.leads()).await;
            one.database.execute("free", FREE, ()).await.unwrap();
            until("it has the lease again", async || one.leads()).await;
            one.end().await;
        });
    }

    fn one_that_cannot_renew_the_lease_gives_up_what_is_under_way_when_its_time_is_over(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_short()).await;
            until("it has the lease", async || one.leads()).await;
            broker.take(10);
            fire(&one.database, &one.bus, &events(0, 100)).await.unwrap();
            let in_the_middle = async || broker.published().len() == 10 && broker.under_way() == 7;
            until("it is in the middle", in_the_middle).await;
            // The lease can be read, and not be written.
            let other = open(&url).await;
            let holding = other.run_interaction("hold", |mut txn| {
                let broker = &broker;
                async move {
                    txn.execute("UPDATE logcontext_outbox_lease SET until = until", ()).await?;
                    until("nothing is under way", async || broker.under_way() == 0).await;
                    Ok::<_, Error>(broker.published().len())
                }
            });
            assert_eq!(holding.await.unwrap(), 10);
            broker.take_all();
            until("all are sent", async || rows(&one.database).await == 0).await;
            assert_in_order(&broker, 100);
            other.close(PATIENCE).await;
            one.end().await;
        });
    }

    fn a_lease_is_kept_while_a_batch_takes_long(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_short()).await;
            until("it has the lease", async || one.leads()).await;
            let two = Process::start(&url, &broker, for_short()).await;
            broker.take(0);
            fire(&one.database, &one.bus, &events(0, 100)).await.unwrap();
            let renewed = "SELECT until FROM logcontext_outbox_lease";
            let first = number(&one.database, renewed).await;
            until("three times its time", async || number(&one.database, renewed).await > first + 900).await;
            assert!(one.leads() && !two.leads());
            broker.take_all();
            until("all are sent", async || rows(&one.database).await == 0).await;
            assert_eq!(sorted(&broker), (0..100).collect::<Vec<_>>(), "once each");
            two.end().await;
            one.end().await;
        });
    }

    fn a_lease_is_kept_while_there_is_nothing_to_send(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let seldom = OutboxConfig { poll: Duration::from_secs(3_600), ..for_short() };
            let one = Process::start(&url, &broker, seldom).await;
            until("it has the lease", async || one.leads()).await;
            let two = Process::start(&url, &broker, for_short()).await;
            let renewed = "SELECT until FROM logcontext_outbox_lease";
            let first = number(&one.database, renewed).await;
            until("three times its time", async || number(&one.database, renewed).await > first + 900).await;
            assert!(one.leads() && !two.leads());
            two.end().await;
            one.end().await;
        });
    }

    fn what_its_own_process_stores_is_sent_without_looking_for_it(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let seldom = OutboxConfig { poll: Duration::from_secs(3_600), ..for_long() };
            let one = Process::start(&url, &broker, seldom).await;
            until("it has the lease", async || one.leads()).await;
            for n in 0..20 {
                fire(&one.database, &one.bus, &events(n, n + 1)).await.unwrap();
                until("it is sent", async || broker.published().len() as u64 == n + 1).await;
            }
            one.end().await;
        });
    }

    fn a_shutdown_sends_what_is_there_and_lets_the_lease_go(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_long()).await;
            until("it has the lease", async || one.leads()).await;
            broker.take(10);
            fire(&one.database, &one.bus, &events(0, 1_200)).await.unwrap();
            let shutdown = one.supervisor.shutdown(PATIENCE);
            let (shutdown, ()) = tokio::join!(shutdown, async { broker.take_all() });
            assert!(shutdown.aborted.is_empty());
            assert_eq!((rows(&one.database).await, is_leased(&one.database).await), (0, false));
            assert_eq!(sorted(&broker), (0..1_200).collect::<Vec<_>>(), "once each");
            one.end().await;
        });
    }

    fn at_its_deadline_it_leaves_the_rest_and_lets_the_lease_go(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_long()).await;
            until("it has the lease", async || one.leads()).await;
            broker.take(10);
            fire(&one.database, &one.bus, &events(0, 100)).await.unwrap();
            until("it is in the middle", async || broker.published().len() == 10).await;
            one.outbox.close(Duration::from_millis(50)).await;
            assert_eq!((rows(&one.database).await, is_leased(&one.database).await), (90, false));
            // It is fired all the same, for whoever comes next.
            fire(&one.database, &one.bus, &events(100, 101)).await.unwrap();
            broker.take_all();
            let two = Process::start(&url, &broker, for_long()).await;
            until("all are sent", async || rows(&two.database).await == 0).await;
            assert_in_order(&broker, 101);
            one.end().await;
            two.end().await;
        });
    }

    fn a_bus_that_is_closed_first_leaves_the_rest_in_the_database(own: Own) {
        with(&own, async |url, _| {
            let broker = Broker::default();
            let one = Process::start(&url, &broker, for_long()).await;
            until("it has the lease", async || one.leads()).await;
            one.bus.close(PATIENCE).await;
            until("it has let go", async || !is_leased(&one.database).await).await;
            fire(&one.database, &one.bus, &events(0, 10)).await.unwrap();
            assert_eq!((rows(&one.database).await, broker.published().len()), (10, 0));
            let two = Process::start(&url, &broker, for_long()).await;
            until("all are sent", async || rows(&two.database).await == 0).await;
            assert_in_order(&broker, 10);
            one.end().await;
            two.end().await;
        });
    }
}

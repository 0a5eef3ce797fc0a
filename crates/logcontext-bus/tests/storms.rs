//! Redis in storms.

#![cfg(feature = "redis")]

mod storming;

use logcontext_testservers::{Redis, Stop};
use storming::Broker;

impl Broker for Redis {
    const CONNECTIONS: usize = 6;

    fn start() -> Self {
        Self::start().unwrap()
    }

    fn url(&self) -> &str {
        self.url()
    }

    fn kill(&self) {
        self.stop(Stop::Immediate);
    }

    fn start_again(&self) {
        self.start_again();
    }

    fn pause(&self) {
        self.pause();
    }

    fn resume(&self) {
        self.resume();
    }
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_broker_that_is_killed_twice_under_load_loses_nothing_that_it_had_acknowledged() {
    storming::a_broker_that_is_killed_twice_under_load_loses_nothing_that_it_had_acknowledged::<Redis>();
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_broker_that_is_frozen_for_ten_seconds_holds_nobody_up_past_their_deadline() {
    storming::a_broker_that_is_frozen_for_ten_seconds_holds_nobody_up_past_their_deadline::<Redis>();
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn a_line_that_is_cut_under_load_fails_what_is_under_way_at_once_and_all_else_goes_on() {
    storming::a_line_that_is_cut_under_load_fails_what_is_under_way_at_once_and_all_else_goes_on::<Redis>();
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn workers_that_are_killed_in_the_middle_of_an_event_leave_it_to_others() {
    storming::workers_that_are_killed_in_the_middle_of_an_event_leave_it_to_others::<Redis>();
}

#[test]
#[ignore = "needs Redis: cargo xtask test"]
fn works_for_another_test() {
    storming::works_for_another_test();
}

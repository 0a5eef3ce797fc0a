//! The list of behaviours, as tests.

/// Writes a test for each behaviour, on a runtime of one thread and on one of several: see
/// [`conformance`](mod@crate::conformance). The expression makes the [`Broker`](crate::conformance::Broker) of one test;
/// attributes after it are given to each test.
///
/// ```no_run
/// use logcontext_bus::conformance::Broker;
/// use logcontext_bus::transport::Memory;
///
/// fn broker() -> impl Broker {
///     Memory::new()
/// }
///
/// logcontext_bus::conformance!(broker(); #[ignore = "needs a server"]);
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance {
    ($broker:expr $(; $(#[$attribute:meta])+)?) => {
        $crate::conformance! {
            @list [$($(#[$attribute])+)?] $broker;
            events:
                each_group_gets_each_event
                one_consumer_of_a_group_gets_each_event
                who_listens_from_now_on_gets_what_is_fired_afterwards
                who_listens_from_the_start_gets_all_that_is_kept
                a_group_that_is_known_goes_on_where_it_was
                what_is_acknowledged_never_comes_again
                who_listens_may_fire_what_it_listens_to
                each_event_has_a_stream_of_its_own
                each_prefix_is_a_world_of_its_own
                ids_and_times_only_grow
                a_body_may_be_any_bytes
                a_body_may_be_as_long_as_is_allowed;
            consumers:
                what_a_dead_consumer_had_comes_to_another_in_order
                who_renews_keeps_what_it_has_and_who_does_not_loses_it
                what_is_released_comes_to_another_at_once
                what_was_released_waits_for_somebody
                what_is_given_back_was_not_delivered
                what_a_stopped_consumer_has_is_still_its_own
                a_stop_leaves_nothing_in_limbo
                nothing_is_read_without_a_slot
                slots_that_come_free_bring_what_waits
                who_has_no_slot_leaves_it_to_others;
            partitions:
                who_reads_a_partition_gets_only_what_is_in_it
                each_partition_stays_in_order
                what_waits_in_all_partitions_comes_to_who_comes_late
                a_partition_that_is_leased_anew_brings_what_was_in_hand_first;
            kept:
                what_is_buried_is_a_dead_letter_and_done
                what_is_done_cannot_be_buried
                dead_letters_come_oldest_first
                a_dead_letter_that_is_retried_comes_to_its_group_alone_as_if_new
                a_dead_letter_that_is_retried_waits_for_its_group
                what_is_retried_is_not_lost_with_its_consumer
                a_dead_letter_that_is_dropped_is_gone
                the_lag_is_exact
                history_shows_the_newest_first_by_pages
                a_trim_forgets_nothing_that_a_group_has_not_done
                a_trim_keeps_history
                a_cap_cuts_and_says_who_was_behind
                what_has_been_cut_does_not_come
                a_group_that_is_forgotten_holds_nothing_back
                events_and_groups_are_listed_sorted
                of_what_is_not_there_there_is_nothing;
            calls:
                a_call_is_answered
                nobody_serves_it_is_an_answer
                a_call_comes_to_one_server_with_a_slot
                each_caller_gets_its_own_answer
                a_call_that_is_not_begun_can_be_taken_back
                whoever_handles_a_call_is_told_that_nobody_waits
                who_answers_learns_that_nobody_heard_it
                a_call_says_how_long_it_was_on_its_way
                a_request_and_its_answer_may_be_any_bytes
                a_request_and_its_answer_may_be_as_long_as_is_allowed;
            lanes:
                nested_calls_need_no_slot
                a_server_that_comes_takes_what_waits
                a_first_lane_that_is_full_holds_up_no_nested_call
                who_stops_the_first_lane_still_serves_nested_calls
                who_stops_gets_nothing_more
                a_stop_loses_no_call;
            leases:
                a_lease_has_one_holder
                a_lease_that_is_released_or_dropped_is_free
                a_lease_that_is_not_renewed_is_free_again
                who_takes_part_is_counted;
            schemas:
                a_schema_is_kept_for_others
                a_schema_takes_the_place_of_the_one_before;
            closing:
                a_connection_says_how_it_is_doing
                who_is_closed_takes_nothing_more
                a_close_ends_what_waits
                a_close_may_be_repeated_and_shared
                what_a_closed_consumer_had_comes_to_another
                what_a_closed_server_would_get_comes_to_another;
            load:
                publishers_side_by_side_lose_and_double_nothing
                consumers_that_come_and_go_lose_nothing
                many_clients_and_many_servers;
            troubles:
                a_restart_loses_no_event
                a_restart_ends_calls_and_serving_goes_on
                what_is_fired_while_the_line_is_cut_is_stored_once
                a_queue_that_is_full_holds_its_callers
                acknowledgements_outlive_a_cut
                a_cut_ends_calls_at_once
                a_frozen_broker_delays_and_loses_nothing;
            bus_events:
                each_listener_handles_each_event_in_a_context_of_its_own
                what_fails_is_tried_again_and_then_kept_as_a_dead_letter
                a_listener_that_stops_leaves_its_event_to_others
                events_of_a_key_are_handled_in_order
                partitions_are_shared_and_keep_the_order_of_keys
                a_service_that_shuts_down_drains_and_leaves_the_rest
                a_handler_may_fire_what_it_handles
                a_blocking_handler_may_block
                what_was_fired_is_shown_and_heard_from_the_start;
            bus_calls:
                a_call_is_answered_with_an_answer_or_an_error_of_its_own
                what_has_gone_wrong_is_said_as_such
                a_caller_that_gives_up_ends_the_handler
                a_handler_may_call_its_own_service
                two_services_may_call_each_other
                blocking_handlers_may_wait_for_each_other
                no_more_handlers_run_than_there_are_slots
                a_service_that_shuts_down_answers_what_it_has_begun
                what_a_call_has_cost_comes_home;
            bus_processes:
                each_process_hears_each_event_and_is_forgotten_when_it_is_gone
                each_shard_is_held_by_one_process_and_moves_when_that_is_gone;
        }
    };
    (@list $attributes:tt $broker:expr; $($group:ident: $($behaviour:ident)+;)+) => {
        mod on_one_thread {
            $(mod $group {
                #[allow(unused_imports, reason = "what the expression may name")]
                use super::super::*;
                $($crate::conformance! { @test $attributes on_one_thread $broker; $group $behaviour })+
            })+
        }
        mod on_several_threads {
            $(mod $group {
                #[allow(unused_imports, reason = "what the expression may name")]
                use super::super::*;
                $($crate::conformance! { @test $attributes on_several_threads $broker; $group $behaviour })+
            })+
        }
    };
    (@test [$($attribute:tt)*] $threads:ident $broker:expr; $group:ident $behaviour:ident) => {
        #[test]
        $($attribute)*
        fn $behaviour() {
            $crate::conformance::$threads(|| $broker, $crate::conformance::$group::$behaviour);
        }
    };
}

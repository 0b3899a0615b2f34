//! One conformance suite that both stores pass, and the faults that only one of them can have.

mod claims;
mod conversations;
mod fixture;
mod journal;
mod life;
mod messages;
mod postgres;
mod schema;
mod sessions;
mod sqlite;
mod tls;
mod turns;

use fixture::Fixture;

/// Runs every test of the suite on both stores, each with a database of its own.
macro_rules! conformance {
    ($($aggregate:ident { $($test:ident,)+ })+) => {
        mod on_postgres {
            $(mod $aggregate {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::store::$aggregate::$test(crate::store::Fixture::postgres().await).await;
                }
            )+})+
        }
        mod on_sqlite {
            $(mod $aggregate {$(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::store::$aggregate::$test(crate::store::Fixture::sqlite().await).await;
                }
            )+})+
        }
    };
}

conformance! {
    schema {
        an_empty_database_is_too_old_and_migrating_it_twice_is_enough_once,
        a_newer_schema_is_refused_by_migrate_and_by_check,
        four_nodes_that_boot_on_an_empty_database_all_succeed,
        the_rules_of_a_turn_stand_in_the_database_too,
    }
    sessions {
        a_session_exists_for_another_connection_the_moment_it_is_made,
        a_session_made_twice_with_the_same_ids_is_one_session,
        resuming_keeps_the_conversation_and_its_participants,
        resuming_a_foreign_or_unknown_conversation_gives_nothing,
        a_session_needs_no_declared_agent_and_a_declared_one_is_found,
        any_text_is_kept_and_a_nul_becomes_a_replacement_character,
    }
    conversations {
        only_the_owners_conversations_with_messages_are_listed_most_recent_first,
        pages_of_conversations_with_equal_times_neither_repeat_nor_skip,
        the_title_is_the_given_one_or_the_first_sixty_characters,
        the_text_filter_takes_percent_and_underscore_as_they_are,
        the_text_filter_ignores_case_and_looks_at_the_whole_first_message,
        renaming_a_foreign_conversation_says_false_and_changes_nothing,
    }
    messages {
        messages_come_newest_first_in_pages_that_neither_repeat_nor_skip,
        history_is_the_newest_ones_oldest_first,
        seq_has_no_gap_under_concurrent_turns,
        times_grow_with_seq,
    }
    turns {
        a_message_is_accepted_with_its_turn_in_one_transaction,
        a_turn_claimed_at_once_runs_from_epoch_one,
        the_same_request_twice_gives_the_first_turn,
        the_same_request_raced_from_many_tasks_is_accepted_exactly_once,
        a_second_message_while_a_turn_is_active_is_busy_and_leaves_nothing,
        two_nodes_racing_for_one_conversation_start_one_turn,
        a_refused_message_may_be_sent_again_when_the_turn_has_ended,
        an_answer_becomes_a_message_in_the_commit_that_ends_the_turn,
        an_ending_without_text_writes_no_message,
        a_stale_epoch_ends_nothing_and_writes_nothing,
        the_same_ending_twice_is_committed_once,
        a_queued_turn_is_cancelled_at_once,
        a_running_turn_is_marked_and_its_holder_told,
        cancelling_what_does_not_run_finds_nothing,
        a_request_to_cancel_without_a_name_meets_whatever_is_active,
        the_newest_turn_is_the_one_accepted_last_whatever_its_id,
        a_plain_turn_takes_three_transactions_at_most,
    }
    claims {
        each_turn_goes_to_exactly_one_of_many_racers,
        the_oldest_queued_turn_is_claimed_first,
        an_empty_queue_gives_nothing,
        a_turn_whose_lease_ran_out_is_claimed_and_its_old_holder_fenced,
        a_renewed_lease_is_not_claimed,
        only_the_named_leases_are_renewed,
        a_mark_to_cancel_outlives_its_holder,
        a_release_consumes_no_attempt,
        a_released_turn_is_lost_to_the_one_who_released_it,
        the_queue_is_counted,
    }
    journal {
        steps_are_kept_in_order_once_and_only_from_the_holder,
        a_parked_turn_takes_the_first_answer_and_is_claimed_again,
        a_parked_turn_that_is_cancelled_is_left_to_a_run_that_keeps_what_was_shown,
        a_parked_turn_that_nobody_answered_in_time_fails,
        a_turn_that_somebody_stopped_is_not_parked,
    }
    life {
        whatever_happens_to_a_turn_its_row_is_what_the_pure_function_says,
    }
}

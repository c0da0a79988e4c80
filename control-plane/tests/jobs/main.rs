//! What whoever adds, does and watches jobs may rely on, on every store and over gRPC.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[path = "../store/etcd.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of stores, which use all of it"
)]
mod etcd;
#[path = "../profiles/faulty.rs"]
#[allow(dead_code, reason = "shared with the tests of profiles")]
mod faulty;
mod roles;
mod suite;
mod support;

/// Makes a test of each case for each store, and for a store behind gRPC.
macro_rules! everywhere {
    ($($module:ident: $($case:ident),+;)+) => {
        mod on_memory {
            $(mod $module { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::support::Home::on(crate::support::memory());
                    crate::suite::$module::$case(home).await;
                }
            )+ })+
        }
        mod on_embedded {
            $(mod $module { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let (_folder, store) = crate::support::embedded().await;
                    crate::suite::$module::$case(crate::support::Home::on(store)).await;
                }
            )+ })+
        }
        mod on_etcd {
            $(mod $module { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let (_etcd, store) = crate::support::etcd().await;
                    crate::suite::$module::$case(crate::support::Home::on(store)).await;
                }
            )+ })+
        }
        mod over_grpc {
            $(mod $module { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let home = crate::support::Home::on(crate::support::memory());
                    crate::suite::$module::$case(home.behind_grpc().await).await;
                }
            )+ })+
        }
    };
}

everywhere! {
    adding:
        an_open_job_with_the_same_key_is_named_instead,
        of_jobs_added_at_once_with_one_key_there_is_one,
        of_a_thousand_jobs_added_at_once_each_is_taken,
        a_full_queue_refuses_and_names_its_bound,
        adders_at_once_never_pass_the_bound_that_they_name,
        a_wrong_job_is_refused_by_field;
    claiming:
        of_claimers_at_once_one_gets_the_job,
        jobs_come_by_priority_then_time,
        jobs_that_wait_hold_nothing_up,
        only_wanted_services_are_handed_out,
        a_dead_holders_job_goes_to_another_with_a_higher_fence,
        a_zombie_is_told_that_it_is_one,
        a_claim_that_is_extended_lives_on,
        a_job_that_was_given_back_did_not_fail,
        a_claimed_job_is_cut_by_no_bound_however_low;
    clocks:
        a_clock_that_steps_while_jobs_are_claimed_loses_and_doubles_none,
        what_a_wrong_clock_told_to_wait_is_handed_out_when_it_is_right_again;
    ending:
        a_failed_attempt_waits_and_the_last_one_is_dead,
        what_cannot_be_retried_is_dead_at_once,
        a_holder_that_dies_at_the_last_attempt_leaves_a_dead_job,
        a_dead_job_gets_all_its_attempts_again,
        a_dead_job_is_not_requeued_over_an_open_one,
        a_cancelled_job_is_taken_from_its_holder,
        what_is_dead_or_done_is_listed_and_forgotten_when_it_is_old,
        a_list_comes_in_pages;
    fleet:
        no_more_jobs_run_than_the_fleet_may_whatever_happens,
        starts_of_the_fleet_are_spaced;
    holds:
        a_hold_is_one_process_s_alone,
        a_hold_ends_with_its_holder,
        a_node_that_starts_again_gets_what_its_earlier_life_held;
    once:
        a_lost_answer_adds_one_job,
        a_lost_answer_of_a_claim_leaks_nothing,
        a_lost_answer_ends_a_claim_once,
        a_lost_answer_of_an_operator_changes_once,
        a_lost_answer_of_a_hold_leaks_nothing,
        a_thousand_jobs_are_each_completed_once;
}

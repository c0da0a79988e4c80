//! What writers, readers and nodes may rely on of profiles and weights, on every store.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

#[path = "../store/etcd.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of stores, which use all of it"
)]
mod etcd;
mod faulty;
mod grpc;
mod judged;
mod limits;
mod offers;
mod offers_properties;
mod suite;
mod support;

/// Makes a test of each case for each store.
macro_rules! on_every_store {
    ($($module:ident: $($case:ident),+;)+) => {
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
    };
}

on_every_store! {
    races:
        of_writers_at_once_one_wins_each_revision_and_the_others_learn_who,
        two_scopes_that_do_not_go_together_are_not_both_written,
        writers_of_different_scopes_all_get_through,
        a_write_waits_for_what_others_wrote;
    once:
        a_write_id_used_again_writes_once,
        a_write_id_of_an_override_that_holds_otherwise_is_refused,
        a_write_id_of_another_write_is_refused,
        a_lost_answer_of_a_write_that_was_made_writes_once,
        a_lost_answer_of_a_write_that_was_not_made_writes_once,
        a_late_write_does_not_undo_another,
        a_lost_answer_is_found_beneath_what_others_wrote,
        a_store_that_stays_away_leaves_the_writer_uncertain;
    history:
        revisions_are_kept_and_restored,
        a_write_that_changes_nothing_writes_nothing,
        a_dry_run_writes_nothing_and_tells_everything,
        every_write_leaves_its_audit_record,
        what_this_version_cannot_read_survives_a_write,
        old_revisions_and_idle_scopes_are_forgotten,
        who_does_not_lead_forgets_nothing;
    overrides:
        an_override_needs_an_end_and_ends,
        an_override_can_be_ended_early_and_begun_anew;
    weights:
        weights_are_set_over_what_the_writer_saw,
        writers_at_once_lose_nothing,
        a_lost_answer_sets_once,
        a_lost_answer_undoes_nobody,
        wrong_weights_are_refused_by_field;
}

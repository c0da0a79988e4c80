//! One suite that every store passes, and what each store survives.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod cluster;
mod embedded_faults;
mod embedded_killed;
#[allow(dead_code, reason = "shared with other tests")]
mod etcd;
mod etcd_cluster;
mod etcd_faults;
mod suite;
mod support;

/// Makes a test of each case for each store.
macro_rules! conformance {
    ($($module:ident: $($case:ident),+;)+) => {
        mod on_embedded {
            $(mod $module { $(
                #[tokio::test]
                async fn $case() {
                    let home = crate::support::embedded().await;
                    crate::suite::$module::$case(home.store.clone()).await;
                }
            )+ })+
        }
        mod on_memory {
            $(mod $module { $(
                #[tokio::test]
                async fn $case() {
                    crate::suite::$module::$case(crate::support::memory()).await;
                }
            )+ })+
        }
        mod on_etcd {
            $(mod $module { $(
                #[tokio::test]
                async fn $case() {
                    let (_etcd, store) = crate::support::etcd().await;
                    crate::suite::$module::$case(store).await;
                }
            )+ })+
        }
    };
}

conformance! {
    txns:
        a_put_is_read_back,
        revisions_rise_only_with_changes,
        every_comparison_decides,
        a_step_sees_the_steps_before_it,
        lists_come_in_pages_of_one_revision,
        the_past_can_be_read;
    limits:
        what_just_fits_is_taken,
        transactions_that_do_not_fit_are_refused_by_field,
        calls_that_do_not_fit_are_refused_by_field;
    leases:
        an_expired_lease_takes_its_keys_in_one_revision,
        a_kept_lease_lives_on,
        a_revoked_lease_is_a_fence,
        a_key_belongs_to_its_last_lease_only,
        only_one_claims_and_the_zombie_is_fenced;
    watches:
        events_come_in_order_with_what_was_before,
        a_revision_comes_in_one_piece,
        a_watch_begins_in_the_past_and_goes_on,
        a_silent_watch_proves_that_it_lives,
        a_watch_of_the_future_is_refused;
    compaction:
        what_was_compacted_is_refused,
        a_follower_survives_compaction,
        compaction_loses_nothing_of_the_present;
    follower:
        a_follower_holds_what_the_store_holds,
        an_audit_tells_nothing_if_nothing_was_lost,
        a_follower_overtaken_by_compaction_tells_the_difference,
        repeated_events_are_told_once,
        an_audit_finds_lost_events,
        what_is_left_out_is_neither_told_nor_missed;
    model:
        random_transactions_do_what_the_model_does;
}

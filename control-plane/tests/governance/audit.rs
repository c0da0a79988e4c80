//! The audit in the store.

use bytes::Bytes;
use proptest::prelude::*;
use weir_control_plane::governance::audit::{self, Change, Pruned};
use weir_control_plane::store::{Compare, Op, Txn};

use crate::support::unsteady::{Fault, Unsteady};
use crate::support::{BEGIN_MS, Home, alice, home, keys};

const DAY_MS: u64 = 86_400_000;

/// Keeps a record for each of these times, in few transactions.
async fn keep(home: &Home, times: &[u64]) {
    let actor = alice();
    for (part, times) in times.chunks(100).enumerate() {
        let put = |(at, unix_ms): (usize, &u64)| {
            let target = unix_ms.to_string();
            let change = Change {
                action: "profile.put",
                target: &target,
                ..Change::default()
            };
            let record = audit::record(&actor, &change, *unix_ms);
            audit::put(&keys(), record, (part * 100 + at) as u64)
        };
        let txn = Txn {
            then: times.iter().enumerate().map(put).collect(),
            ..Txn::default()
        };
        home.store.txn(txn).await.unwrap();
    }
}

async fn newest(home: &Home, entries_max: usize) -> Vec<u64> {
    newest_at(home, entries_max, BEGIN_MS).await
}

async fn newest_at(home: &Home, entries_max: usize, now_unix_ms: u64) -> Vec<u64> {
    let listed = audit::list(&*home.store, &keys(), entries_max, now_unix_ms).await;
    let records = listed.unwrap();
    records.iter().map(|record| record.at_unix_ms).collect()
}

fn expected(times: &[u64], entries_max: usize) -> Vec<u64> {
    let mut times = times.to_vec();
    times.sort_unstable_by(|one, other| other.cmp(one));
    times.truncate(entries_max);
    times
}

#[tokio::test]
async fn an_empty_audit_is_an_empty_list() {
    assert!(newest(&home().await, 50).await.is_empty());
}

#[tokio::test]
async fn the_newest_come_first_across_days_years_and_a_clock_ahead() {
    let home = home().await;
    let times = [
        0,
        1,
        BEGIN_MS - 40 * 365 * DAY_MS,
        BEGIN_MS - DAY_MS,
        BEGIN_MS - 60_000,
        BEGIN_MS - 59_999,
        BEGIN_MS,
        BEGIN_MS,
        BEGIN_MS + 3 * DAY_MS,
    ];
    keep(&home, &times).await;
    for entries_max in [1, 2, 5, 8, 9, 1000] {
        assert_eq!(
            newest(&home, entries_max).await,
            expected(&times, entries_max)
        );
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_hides_nothing() {
    let home = home().await;
    let times: Vec<u64> = (0..3_000).map(|n| BEGIN_MS + n * 500).collect();
    keep(&home, &times).await;
    for now_unix_ms in [0, BEGIN_MS - DAY_MS, BEGIN_MS + 1_000_000, u64::MAX] {
        let found = newest_at(&home, 300, now_unix_ms).await;
        assert_eq!(found, expected(&times, 300), "{now_unix_ms}");
    }
}

#[tokio::test]
async fn a_burst_is_not_read_from_its_beginning() {
    let home = home().await;
    let burst: Vec<u64> = (0..12_000)
        .map(|n| BEGIN_MS - 30 * DAY_MS + n * 50)
        .collect();
    keep(&home, &burst).await;
    let counting = Unsteady::new(home.store.clone(), Fault::RequestLost, 0);
    let listed = audit::list(&*counting, &keys(), 50, BEGIN_MS)
        .await
        .unwrap();
    let times: Vec<u64> = listed.iter().map(|record| record.at_unix_ms).collect();
    assert_eq!(times, expected(&burst, 50));
    assert!(counting.lists() < 100, "{} lists", counting.lists());
}

#[tokio::test]
async fn records_that_are_old_are_removed_while_the_guard_holds() {
    let home = home().await;
    let times: Vec<u64> = (0..250).map(|n| BEGIN_MS - n * DAY_MS).collect();
    keep(&home, &times).await;
    let leader = Bytes::from_static(b"leader");
    let guard = [Compare::Exists(leader.clone())];
    let keys = keys();
    let prune = || audit::prune(&*home.store, &keys, 90, BEGIN_MS, &guard);
    assert_eq!(prune().await.unwrap(), Pruned::Fenced(0));
    let put = Op::Put {
        key: leader,
        value: Bytes::new(),
        lease: None,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    home.store.txn(txn).await.unwrap();
    assert_eq!(prune().await.unwrap(), Pruned::All(159));
    assert_eq!(newest(&home, 1000).await, expected(&times, 91));
    assert_eq!(prune().await.unwrap(), Pruned::All(0));
}

#[tokio::test]
async fn texts_are_kept_in_one_line_without_secrets() {
    let home = home().await;
    let token = format!("weir_{}", "ab12".repeat(16));
    let change = Change {
        action: "weights.set",
        target: "web",
        message: &format!("use {token}\nnow"),
        write_id: "w1",
        detail: &"x".repeat(5_000),
    };
    let record = audit::record(&alice(), &change, BEGIN_MS);
    let txn = Txn {
        then: vec![audit::put(&keys(), record, 1)],
        ..Txn::default()
    };
    home.store.txn(txn).await.unwrap();
    let records = audit::list(&*home.store, &keys(), 1, BEGIN_MS)
        .await
        .unwrap();
    assert_eq!(records[0].message, "use *** now");
    assert_eq!(records[0].detail.chars().count(), audit::DETAIL_CHARS_MAX);
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_shown_as_that() {
    let home = home().await;
    keep(&home, &[BEGIN_MS]).await;
    let put = Op::Put {
        key: keys().audit_record(BEGIN_MS + 1, 0),
        value: Bytes::from_static(b"\x07"),
        lease: None,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    home.store.txn(txn).await.unwrap();
    let records = audit::list(&*home.store, &keys(), 10, BEGIN_MS)
        .await
        .unwrap();
    assert_eq!((records.len(), &*records[0].action), (2, "unreadable"));
}

#[tokio::test]
async fn a_list_fits_one_answer() {
    let home = home().await;
    let wide = "é".repeat(2_000);
    let change = Change {
        action: "weights.set",
        message: &wide,
        detail: &wide.replace('é', "\u{10348}"),
        ..Change::default()
    };
    for n in 0..10 {
        let put = |id| audit::put(&keys(), audit::record(&alice(), &change, BEGIN_MS + n), id);
        let txn = Txn {
            then: (0..100).map(put).collect(),
            ..Txn::default()
        };
        home.store.txn(txn).await.unwrap();
    }
    let records = audit::list(&*home.store, &keys(), 1000, BEGIN_MS)
        .await
        .unwrap();
    let bytes: usize = records.iter().map(prost::Message::encoded_len).sum();
    assert!(records.len() > 400 && bytes < 3 * 1024 * 1024, "{bytes}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_list_is_what_sorting_gives(
        ago in prop::collection::vec(prop_oneof![0..5_000_u64, 0..5_000_000_u64, 0..2_000_000_000_000_u64], 0..300),
        entries_max in 1_usize..400,
    ) {
        let times: Vec<u64> = ago.iter().map(|ago| BEGIN_MS.saturating_sub(*ago)).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = home().await;
            keep(&home, &times).await;
            prop_assert_eq!(newest(&home, entries_max).await, expected(&times, entries_max));
            Ok(())
        })?;
    }
}

//! Weights of services.

use std::collections::BTreeMap;

use futures::future::join_all;
use weir_control_plane::keys::Key;
use weir_control_plane::store::{List, Op, Txn};
use weir_control_plane::weights::{ServiceWeights, SetError, WeightStore};
use weir_proto::control::v1::SetWeightsRequest;

use crate::faulty::{Fault, Faulty};
use crate::support::{Home, NOW, operator};

fn request(write_id: &str, set: &[(&str, u32)]) -> SetWeightsRequest {
    SetWeightsRequest {
        service: "web".to_owned(),
        set: weights(set),
        write_id: write_id.to_owned(),
        ..SetWeightsRequest::default()
    }
}

fn weights(set: &[(&str, u32)]) -> BTreeMap<String, u32> {
    let owned = |(backend, weight): &(&str, u32)| ((*backend).to_owned(), *weight);
    set.iter().map(owned).collect()
}

async fn set(store: &WeightStore, request: &SetWeightsRequest) -> Result<ServiceWeights, SetError> {
    store.set(request, &operator("ana"), NOW).await
}

async fn audit_records(home: &Home) -> usize {
    let list = List {
        prefix: "/weir/v1/default/audit/".into(),
        entries_max: 100,
        ..List::default()
    };
    home.store.list(list).await.unwrap().entries.len()
}

pub(crate) async fn weights_are_set_over_what_the_writer_saw(home: Home) {
    let store = WeightStore::new(home.store.clone(), home.keys.clone());
    assert_eq!(store.get("web").await.unwrap(), ServiceWeights::none("web"));
    let mut first = request("w1", &[("10.0.0.1:80", 5), ("b", 65_535)]);
    first.expected_revision = Some(0);
    let done = set(&store, &first).await.unwrap();
    assert_eq!((done.revision, &*done.author), (1, "ana"));
    assert_eq!(set(&store, &first).await.unwrap(), done, "sent again");
    let mut second = request("w2", &[("b", 0)]);
    second.unset = vec!["10.0.0.1:80".to_owned()];
    let done = set(&store, &second).await.unwrap();
    assert_eq!((done.revision, done.weights), (2, weights(&[("b", 0)])));
    let mut stale = request("w3", &[("b", 9)]);
    stale.expected_revision = Some(1);
    let lost = set(&store, &stale).await.unwrap_err();
    assert!(
        matches!(lost, SetError::Lost { expected: 1, .. }),
        "{lost:?}"
    );
    let told = lost.to_string();
    assert!(
        told.contains("are at revision 2, not 1: ana wrote them at 2026-"),
        "{told}"
    );
    // What is so already is not written.
    let same = set(&store, &request("w4", &[("b", 0)])).await.unwrap();
    assert_eq!(same.write_id, "w2");
    assert_eq!(store.list().await.unwrap(), [same]);
    assert_eq!(audit_records(&home).await, 2);
}

pub(crate) async fn writers_at_once_lose_nothing(home: Home) {
    let store = WeightStore::new(home.store.clone(), home.keys.clone());
    let writers = (0..12_u32).map(|n| {
        let request = request(&format!("w{n}"), &[(&format!("b{n}"), n)]);
        let store = &store;
        async move { set(store, &request).await.unwrap() }
    });
    let revisions = join_all(writers)
        .await
        .into_iter()
        .map(|done| done.revision);
    let revisions: std::collections::BTreeSet<u64> = revisions.collect();
    assert_eq!(revisions, (1..=12).collect());
    assert_eq!(store.get("web").await.unwrap().weights.len(), 12);
}

pub(crate) async fn a_lost_answer_sets_once(home: Home) {
    let sound = WeightStore::new(home.store.clone(), home.keys.clone());
    let faults = [
        &[Fault::Made][..],
        &[Fault::NotMade],
        &[Fault::NotMade, Fault::Made],
        &[Fault::MadeThenAway],
        &[Fault::MadeWithNext],
        &[Fault::Stuck],
    ];
    for (round, faults) in (1..).zip(faults) {
        let faulty = Faulty::new(&home.store, faults);
        let store = WeightStore::new(faulty.clone(), home.keys.clone());
        let request = request(&format!("w{round}"), &[("b", round)]);
        let done = set(&store, &request).await.unwrap();
        assert_eq!(done.revision, u64::from(round));
        assert_ne!(faulty.arrive().await, Some(true), "it is made twice");
        assert_eq!(sound.get("web").await.unwrap(), done);
        assert_eq!(audit_records(&home).await, round as usize);
    }
}

/// Whether the write was made or not, another writer came in between and is not undone.
pub(crate) async fn a_lost_answer_undoes_nobody(home: Home) {
    let sound = WeightStore::new(home.store.clone(), home.keys.clone());
    let rival = ServiceWeights {
        weights: weights(&[("b", 9)]),
        revision: 2,
        write_id: "rival".to_owned(),
        ..ServiceWeights::none("web")
    };
    let faulty = Faulty::new(&home.store, &[Fault::MadeThenRival]);
    let put = Op::Put {
        key: home.keys.of(&Key::Weights { service: "web" }).unwrap(),
        value: rival.write(),
        lease: None,
    };
    let txn = Txn {
        then: vec![put],
        ..Txn::default()
    };
    faulty.rival(txn).await;
    let store = WeightStore::new(faulty.clone(), home.keys.clone());
    let done = set(&store, &request("w1", &[("b", 1)])).await.unwrap();
    assert_eq!((done.revision, done.weights), (1, weights(&[("b", 1)])));
    assert_eq!(sound.get("web").await.unwrap(), rival);
}

pub(crate) async fn wrong_weights_are_refused_by_field(home: Home) {
    let store = WeightStore::new(home.store.clone(), home.keys.clone());
    let long = "x".repeat(256);
    let mut wrong = request("two words", &[("b", 65_536), ("", 1), (&long, 1), ("c", 1)]);
    wrong.service = "a/b".to_owned();
    wrong.unset = vec!["c".to_owned()];
    wrong.message = "m".repeat(1_025);
    let Err(SetError::Problems(problems)) = set(&store, &wrong).await else {
        panic!("it is refused");
    };
    let paths: Vec<&str> = problems.iter().map(|problem| &*problem.path).collect();
    assert_eq!(
        paths,
        [
            "service", "message", "write_id", "set", "set.b", "unset", "set"
        ]
    );
    assert_eq!(
        problems[4].to_string(),
        "set.b: `65536` is out of bounds (allowed: 0 to 65535)"
    );
    let many: Vec<String> = (0..10_001).map(|n| format!("b{n}")).collect();
    let many: Vec<(&str, u32)> = many.iter().map(|b| (b.as_str(), 1)).collect();
    let refused = set(&store, &request("w", &many))
        .await
        .unwrap_err()
        .to_string();
    assert!(refused.contains("at most 10000"), "{refused}");
    let done = set(&store, &request("w", &many[..10_000])).await.unwrap();
    assert_eq!(done.weights.len(), 10_000);
    let refused = set(&store, &request("x", &[("one-more", 1)]))
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("`10001 backends`"),
        "{refused}"
    );
}

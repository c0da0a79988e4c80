//! What nodes are told, and what they are not told.

use std::time::Duration;

use tokio::time::sleep;
use weir_proto::control::v1 as pb;

use crate::api::{Api, put};
use crate::etcd::Etcd;
use crate::instance::Plan;
use crate::node::{KNOB, Manner, Node};

const CROWD: usize = 50;

#[tokio::test]
async fn after_a_death_amid_a_push_all_end_on_the_newest_and_nobody_is_told_twice() {
    let etcd = Etcd::start().await;
    let mut instance = Plan::new("cp-1", &[etcd.endpoint()]).start().await;
    let api = Api::to(instance.address());
    api.set(1_001).await;
    let nodes: Vec<Node> = (0..CROWD)
        .map(|at| {
            let manner = Manner::new(&format!("sim-{at}"), &[instance.address()]);
            let answers_in = Duration::from_millis(20 * at as u64);
            Manner {
                answers_in,
                ..manner
            }
            .start()
        })
        .collect();
    for node in &nodes {
        let has_all = |seen: &crate::node::Seen| {
            seen.value() == 1_001 && seen.names(pb::ResourceType::Peers).len() == CROWD
        };
        node.until("it knows all", has_all).await;
    }
    api.set(1_002).await;
    nodes[CROWD / 4].at(1_002).await;
    instance.kill();
    let told: Vec<_> = nodes.iter().map(Node::now).collect();
    let had = told.iter().filter(|seen| seen.value() == 1_002).count();
    assert!((10..CROWD).contains(&had), "{had} nodes had it");
    instance.restart().await;
    for (node, before) in nodes.iter().zip(&told) {
        node.at(1_002).await;
        let is_back = |seen: &crate::node::Seen| seen.welcomes > before.welcomes;
        let seen = node.until("back", is_back).await;
        assert_eq!(seen.mismatches, 0);
    }
    // A write to be told after everything else.
    api.set(1_003).await;
    for (node, before) in nodes.iter().zip(&told) {
        let seen = node.at(1_003).await;
        assert_eq!(seen.values, [1_001, 1_002, 1_003], "each value came once");
        if before.value() == 1_002 {
            let profile = seen.payload_bytes - before.payload_bytes;
            assert!(profile < 40, "{profile} bytes are more than the last push");
        }
    }
}

#[tokio::test]
async fn only_what_changes_something_is_pushed() {
    let etcd = Etcd::start().await;
    let instance = Plan::new("cp-1", &[etcd.endpoint()]).start().await;
    let api = Api::to(instance.address());
    let nodes = Node::crowd(3, &[instance.address()]);
    api.set(1_001).await;
    api.set(1_002).await;
    for node in &nodes {
        node.at(1_002).await;
    }
    let no_op = api.put(put("fleet", 2, 1_002)).await.unwrap();
    assert!(!no_op.changed);
    // A profile that concerns nobody here.
    api.put(put("node/other", 0, 5_000)).await.unwrap();
    let back = pb::PutProfileRequest {
        set: Vec::new(),
        rollback_to: 1,
        ..put("fleet", 2, 0)
    };
    let back = api.put(back).await.unwrap();
    assert_eq!(back.profile.unwrap().rollback_of, 1);
    for node in &nodes {
        let seen = node.at(1_001).await;
        let profiles = seen.values.iter().filter(|value| **value != 0);
        let profiles: Vec<u64> = profiles.copied().collect();
        assert!(
            [&[1_001, 1_002, 1_001][..], &[1_002, 1_001]].contains(&&profiles[..]),
            "{profiles:?}"
        );
        assert_eq!(seen.pushes_of(pb::ResourceType::Profile), seen.values.len());
        assert_eq!(seen.pushes_of(pb::ResourceType::Orders), 1);
    }
}

/// What the layers give for the knob.
async fn effective(api: &Api) -> (String, String) {
    let request = pb::EffectiveRequest {
        node_id: "n1".to_owned(),
    };
    let told = api
        .profiles()
        .effective(request)
        .await
        .unwrap()
        .into_inner();
    let path = |knob: &pb::LayeredKnob| knob.knob.as_ref().unwrap().path.clone();
    let knob = told.knobs.iter().find(|knob| path(knob) == KNOB).unwrap();
    (knob.value.clone(), knob.scope.clone())
}

#[tokio::test]
async fn an_override_ends_by_itself_even_while_nobody_is_there_to_end_it() {
    let etcd = Etcd::start().await;
    let mut instance = Plan::new("cp-1", &[etcd.endpoint()]).start().await;
    let api = Api::to(instance.address());
    let node = Node::start("n1", &[instance.address()]);
    api.set(1_001).await;
    let over = |value, expected, ttl_ms| pb::PutProfileRequest {
        ttl_ms,
        ..put("override/n1", expected, value)
    };
    api.put(over(2_001, 0, 1_000)).await.unwrap();
    node.at(2_001).await;
    assert_eq!(effective(&api).await, ("2001".into(), "override/n1".into()));
    node.at(1_001).await;
    assert_eq!(effective(&api).await, ("1001".into(), "fleet".into()));
    api.put(over(2_002, 1, 2_000)).await.unwrap();
    node.at(2_002).await;
    instance.kill();
    // It ends now.
    sleep(Duration::from_millis(2_100)).await;
    let before = node.now();
    instance.restart().await;
    let seen = node.at(1_001).await;
    assert_eq!(effective(&api).await, ("1001".into(), "fleet".into()));
    assert_eq!(
        seen.pushes_of(pb::ResourceType::Profile),
        before.pushes_of(pb::ResourceType::Profile) + 1
    );
}

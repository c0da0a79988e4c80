//! What is refused, and how it is said.

use weir_control_plane::store::{Op, Txn};
use weir_core::tuning::Code;

use crate::offers::revision;
use crate::support::{Home, NOW, embedded, labels, node, paths, problems, selector, texts};

#[tokio::test]
async fn every_problem_of_a_request_is_told_at_once() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let mut request = home.request(
        "group/edge",
        0,
        &[
            ("ingress.headers_max", "many"),
            ("balancer.drain_timeout", "99d"),
            ("ingress.headers", "7"),
            ("balancer.policy", "best"),
        ],
    );
    request.write_id = "two words".to_owned();
    request.message = "x".repeat(1_025);
    request.ttl_ms = 5;
    request.unset = vec!["no.such".to_owned()];
    request.preset = "fast".to_owned();
    request.rollback_to = 3;
    let refused = problems(home.put(&request).await);
    assert_eq!(
        paths(&refused),
        [
            "ttl_ms",
            "message",
            "write_id",
            "rollback_to",
            "preset",
            "ingress.headers_max",
            "balancer.drain_timeout",
            "ingress.headers",
            "balancer.policy",
            "no.such",
            "group.labels",
        ]
    );
    let with_bounds = refused.iter().filter(|problem| !problem.bound.is_empty());
    assert_eq!(
        with_bounds.count(),
        refused.len() - 1,
        "but for the preset and rollback together"
    );
    assert_eq!(
        refused[6].to_string(),
        "balancer.drain_timeout: `99d` is out of bounds (allowed: 0ms to 1d)"
    );
    // Nor is anything else said of a scope that is none.
    let request = home.request("groups/edge", 5, &[("ingress.headers_max", "0")]);
    let refused = problems(home.put(&request).await);
    assert_eq!(paths(&refused), ["scope", "ingress.headers_max"]);
}

#[tokio::test]
async fn a_rule_that_layers_break_together_names_both_values_and_the_nodes() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let mut group = home.request("group/eu", 0, &[("ingress.h2_stream_window", "2MiB")]);
    group.group = selector(&[("zone", "eu")], 0);
    let mut nodes: Vec<_> = (0..12)
        .map(|n| node(&format!("n{n:02}"), &[("zone", "eu")]))
        .collect();
    nodes.push(node("other", &[]));
    let wide = [("ingress.h2_connection_window", "4MiB")];
    home.put_with(&home.request("fleet", 0, &wide), NOW, &nodes)
        .await
        .unwrap();
    home.put_with(&group, NOW, &nodes).await.unwrap();
    // Sound for the fleet by itself, and not beneath the group.
    let narrow = home.request("fleet", 1, &[("ingress.h2_connection_window", "1MiB")]);
    let refused = problems(home.put_with(&narrow, NOW, &nodes).await);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].code, Code::Conflict);
    assert_eq!(
        refused[0].to_string(),
        "ingress.h2_stream_window: `2MiB` is more than ingress.h2_connection_window (1MiB) \
         for n00, n01, n02, n03, n04, n05, n06, n07, n08, n09 and 2 more (layers fleet, group/eu) \
         (allowed: at most 1MiB)"
    );
    // Without such a node it is allowed.
    let outcome = home.put_with(&narrow, NOW, &nodes[12..]).await.unwrap();
    assert_eq!(outcome.nodes[0].node_ids, ["other"]);
    // What was broken before is not held against another write; what breaks anew is.
    let fine = home.request("fleet", 2, &[("ingress.headers_max", "9")]);
    home.put_with(&fine, NOW, &nodes).await.unwrap();
    let worse = home.request("fleet", 3, &[("ingress.h2_connection_window", "512KiB")]);
    let refused = problems(home.put_with(&worse, NOW, &nodes).await);
    assert!(
        refused[0].message.contains("(512KiB) for n00"),
        "{}",
        refused[0]
    );
}

#[tokio::test]
async fn a_node_that_nobody_knows_yet_is_judged_too() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let request = home.request("node/new", 0, &[("ingress.h2_connection_window", "128KiB")]);
    let refused = problems(home.put(&request).await);
    assert!(
        refused[0].message.ends_with("for new (layers node/new)"),
        "{}",
        refused[0]
    );
    let request = home.request("fleet", 0, &[("ingress.h2_connection_window", "128KiB")]);
    let refused = problems(home.put(&request).await);
    let whole = "for every node without other layers (layers fleet)";
    assert!(refused[0].message.ends_with(whole), "{}", refused[0]);
}

#[tokio::test]
async fn groups_of_one_priority_may_not_disagree_about_a_node() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let nodes = [
        node("both", &[("zone", "eu"), ("kind", "edge")]),
        node("eu", &[("zone", "eu")]),
    ];
    let put = |scope: &str, expected: u64, label, priority, value: &str| {
        let mut request = home.request(scope, expected, &[("ingress.headers_max", value)]);
        request.group = selector(&[label], priority);
        let (home, nodes) = (&home, &nodes);
        async move { home.put_with(&request, NOW, nodes).await }
    };
    put("group/eu", 0, ("zone", "eu"), 5, "7").await.unwrap();
    let refused = problems(put("group/edge", 0, ("kind", "edge"), 5, "8").await);
    assert_eq!(refused.len(), 1);
    let text = refused[0].to_string();
    for part in [
        "group/eu",
        "group/edge",
        "priority 5",
        "for both (layers",
        "different priorities",
    ] {
        assert!(text.contains(part), "{text}");
    }
    put("group/edge", 0, ("kind", "edge"), 5, "7")
        .await
        .unwrap();
    let outcome = put("group/edge", 1, ("kind", "edge"), 6, "8")
        .await
        .unwrap();
    assert_eq!(outcome.nodes[0].node_ids, ["both"]);
    // A selector that is not told stays; one without labels changes the priority alone.
    let stays = home
        .set("group/edge", 2, &[("ingress.headers_max", "9")])
        .await
        .unwrap();
    assert_eq!(stays.revision.group.as_ref().unwrap().priority, 6);
    let mut request = home.request("group/edge", 3, &[]);
    request.group = selector(&[], 9);
    let higher = home.put(&request).await.unwrap().revision.group.unwrap();
    assert_eq!(
        (higher.priority, higher.labels),
        (9, labels(&[("kind", "edge")]))
    );
    let mut fleet = home.request("fleet", 0, &[]);
    fleet.group = selector(&[("a", "b")], 1);
    assert_eq!(paths(&problems(home.put(&fleet).await)), ["group"]);
    let mut odd = home.request("group/odd", 0, &[]);
    odd.set = texts(&[]);
    odd.group = selector(&[("", "b")], 1);
    assert_eq!(paths(&problems(home.put(&odd).await)), ["group.labels"]);
}

/// Not a promise but a bound that would show a blunder: every node with a profile of its own.
#[tokio::test]
async fn a_fleet_of_five_thousand_is_judged_in_good_time() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let heads = (0..900).map(|n| {
        let revision = revision(&format!("node/n{n}"), &[("upstream.idle_max", "200")]);
        Op::Put {
            key: home.keys.profile_head(&revision.scope),
            value: revision.write(),
            lease: None,
        }
    });
    let heads: Vec<Op> = heads.collect();
    for then in heads.chunks(100) {
        let txn = Txn {
            then: then.to_vec(),
            ..Txn::default()
        };
        home.store.txn(txn).await.unwrap();
    }
    home.view(|view| view.heads().count() == 900).await;
    let nodes: Vec<_> = (0..5_000).map(|n| node(&format!("n{n}"), &[])).collect();
    let mut request = home.request("fleet", 0, &[]);
    request.preset = "high-traffic".to_owned();
    let begun = tokio::time::Instant::now();
    let outcome = home.put_with(&request, NOW, &nodes).await.unwrap();
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    let told: Vec<u64> = outcome.nodes.iter().map(|nodes| nodes.nodes).collect();
    // Those with a value of their own get one setting less.
    assert_eq!(told, [4_100, 900]);
}

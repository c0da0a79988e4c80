//! Nodes, tokens, the audit and the control plane itself.

use serde_json::json;
use weir_proto::control::v1 as pb;

use super::fake::Fake;
use super::weir;

#[tokio::test]
async fn nodes_are_listed_ordered_and_removed() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let list = weir(&address, &["nodes"]).await.done();
    assert!(
        list.starts_with("NODE    PRESENCE   VERSION  ZONE  PROFILE"),
        "{list}"
    );
    assert_eq!(list.lines().count(), 4);
    for (order, shown) in [
        ("cordon", ", cordoned\n"),
        ("drain", ", draining, cordoned\n"),
        ("undrain", ", cordoned\n"),
        ("uncordon", "\n"),
    ] {
        let out = weir(&address, &["nodes", order, "node-1"]).await.done();
        let first = out.split_inclusive('\n').next().unwrap();
        assert!(first.starts_with("node-1 connected "), "{order}: {out}");
        assert!(first.ends_with(shown), "{order}: {out}");
        assert_eq!(first.contains(','), shown != "\n", "{order}: {out}");
    }
    let out = weir(&address, &["nodes", "remove", "node-3"]).await.done();
    assert_eq!(out, "node-3 is removed\n");
    assert_eq!(fake.state().await.nodes.len(), 2);
    let ended = weir(&address, &["nodes", "forget", "node-3"]).await;
    assert_eq!(ended.code, 4);
}

#[tokio::test]
async fn registered_backends_are_listed_page_by_page_and_removed() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let endpoint = |service: &str, at: u32| pb::Endpoint {
        service: service.to_owned(),
        backend_id: format!("b{at}"),
        address: format!("10.0.0.{at}:80"),
        weight: at,
        ..pb::Endpoint::default()
    };
    let mut endpoints: Vec<_> = (1..=5).map(|at| endpoint("web", at)).collect();
    endpoints.push(endpoint("api", 9));
    fake.state().await.endpoints = endpoints;
    let list = weir(&address, &["backends"]).await.done();
    assert_eq!(list.lines().count(), 7, "{list}");
    let second: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(second, ["web", "b1", "10.0.0.1:80", "1", "-", "0"]);
    let list = weir(&address, &["backends", "list", "api", "-o", "json"]);
    assert_eq!(
        list.await.json(),
        json!([{
            "service": "api", "id": "b9", "address": "10.0.0.9:80", "weight": 9, "zone": null, "priority": 0,
            "labels": {},
        }])
    );
    let remove = ["backends", "remove", "web/b3", "-m", "left over"];
    assert_eq!(weir(&address, &remove).await.done(), "web/b3 is removed\n");
    assert_eq!(weir(&address, &remove).await.code, 4);
    let wrong = weir(&address, &["backends", "remove", "web"]).await;
    assert!(wrong.code == 2 && wrong.err.contains("expected SERVICE/ID"));
}

#[tokio::test]
async fn a_token_is_told_once_and_revoked_by_name() {
    let (_fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    let create = [
        "control-plane",
        "token",
        "create",
        "ci",
        "--role",
        "operator",
        "--ttl",
        "30d",
    ];
    assert_eq!(weir(&address, &create).await.done(), "weir_secret\n");
    let list = ["control-plane", "token", "list", "-o", "json"];
    assert_eq!(
        weir(&address, &list).await.json(),
        json!([{
            "name": "ci", "role": "operator", "subject": null, "author": "alice",
            "created_at": "2026-03-01T12:00:00.000Z", "expires_at": "2026-03-31T12:00:00.000Z",
        }])
    );
    weir(&address, &["control-plane", "token", "revoke", "ci"])
        .await
        .done();
    assert_eq!(weir(&address, &list).await.json(), json!([]));
}

#[tokio::test]
async fn the_control_plane_tells_how_it_is_and_what_was_done() {
    let (fake, address) = Fake::with_nodes().await;
    let address = address.to_string();
    fake.state().await.store_problem = Some("no quorum".to_owned());
    let status = weir(&address, &["control-plane", "status"]).await;
    assert_eq!(
        (status.code, status.err.as_str()),
        (1, "weir: the store is not healthy\n")
    );
    assert_eq!(
        status.out,
        "cp-1, version 0.1.0, epoch e1\n\
         store not healthy, revision 12, 4KiB on disk\n\
         \x20 no quorum\n\
         leader cp-1, term 3; instances cp-1, cp-2\n\
         3 node streams here\n"
    );
    let audit = weir(&address, &["control-plane", "audit", "-o", "json"])
        .await
        .json();
    assert_eq!(
        (&audit[0]["action"], &audit[0]["at"]),
        (&json!("profile.put"), &json!("2026-03-01T12:00:00.000Z"))
    );
}

#[tokio::test]
async fn an_instance_whose_arguments_do_not_fit_does_not_start() {
    for (arguments, named) in [
        (&["--access", "mtls"][..], "--client-ca"),
        (&["--store", "redis://a:1"], "`redis://a:1` is no store"),
        (&["--namespace", "a/b"], "--namespace"),
    ] {
        let ended = weir("127.0.0.1:1", &[&["control-plane"], arguments].concat()).await;
        assert!(
            ended.code == 2 && ended.err.contains(named),
            "{}",
            ended.err
        );
    }
}

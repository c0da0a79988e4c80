//! Values that applications put, on one node and in a mesh.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Streaming};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::cache_client::CacheClient;
use weir_proto::node::v1::load_value_response::Outcome;
use weir_proto::node::v1::purge_request::Scope;
use weir_proto::node::v1::watch_values_request::Of;

use crate::common::{PATIENCE, Weir};
use crate::control_plane::Node;
use crate::control_plane::plane::ControlPlane;
use crate::grpc::channel;

type Client = CacheClient<Channel>;

const NAMES: [&str; 3] = ["node-a", "node-b", "node-c"];

fn key(name: &str) -> Option<pb::ValueKey> {
    Some(pb::ValueKey {
        key: name.to_owned(),
        namespace: String::new(),
    })
}

fn put(name: &str, value: &str) -> pb::PutValueRequest {
    pb::PutValueRequest {
        key: key(name),
        value: value.as_bytes().to_vec(),
        ttl_ms: 60_000,
        tags: vec!["users".to_owned()],
        ..pb::PutValueRequest::default()
    }
}

async fn get(client: &mut Client, name: &str) -> Result<pb::CacheValue, Code> {
    let got = client.get(pb::GetValueRequest { key: key(name) }).await;
    got.map(tonic::Response::into_inner)
        .map_err(|status| status.code())
}

async fn load(client: &mut Client, name: &str, lease_ms: u64, wait_ms: u64) -> Outcome {
    let request = pb::LoadValueRequest {
        key: key(name),
        lease_ms,
        wait_ms: Some(wait_ms),
    };
    let loaded = client.get_or_load(request).await.unwrap().into_inner();
    loaded.outcome.unwrap()
}

async fn purge(client: &mut Client, scope: Scope) {
    let request = pb::PurgeRequest {
        scope: Some(scope),
        wait: "all".to_owned(),
        wait_ms: 5_000,
        ..pb::PurgeRequest::default()
    };
    let purged = client.purge(request).await.unwrap().into_inner();
    assert_eq!(purged.missing, [""; 0]);
}

/// The next change that is not the beginning.
async fn next(changes: &mut Streaming<pb::ValueChange>) -> pb::ValueChange {
    loop {
        let change = timeout(PATIENCE, changes.next()).await.unwrap();
        let change = change.unwrap().unwrap();
        if change.kind != "watching" {
            return change;
        }
    }
}

async fn watch(
    client: &mut Client,
    of: Of,
    since: Vec<pb::WatchPosition>,
) -> Streaming<pb::ValueChange> {
    let request = pb::WatchValuesRequest {
        namespace: String::new(),
        of: Some(of),
        since,
    };
    client.watch(request).await.unwrap().into_inner()
}

/// Three nodes, each of which hears the purges of the others.
async fn mesh() -> (ControlPlane, Vec<Node>, Vec<Client>) {
    let plane = ControlPlane::start().await;
    let keys = format!("endpoints = [\"{}\"]\n", plane.address);
    let nodes = join_all(NAMES.map(|id| Node::start_as(id, &keys, ""))).await;
    let mut clients = Vec::new();
    for node in &nodes {
        let mut client = CacheClient::new(channel(node.grpc).await);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let stats = client.get_cache(pb::GetCacheRequest {}).await.unwrap();
            let peers = &stats.get_ref().peers;
            if peers.len() == 2 && peers.iter().all(|peer| peer.linked && peer.listening) {
                break;
            }
            assert!(Instant::now() < deadline, "{peers:?}");
            sleep(Duration::from_millis(20)).await;
        }
        clients.push(client);
    }
    (plane, nodes, clients)
}

#[tokio::test]
async fn what_is_put_anywhere_is_found_everywhere_and_purged_everywhere() {
    let (_plane, _nodes, mut clients) = mesh().await;
    for number in 0..12 {
        let (from, name) = (number % 3, format!("user/{number}"));
        let done = clients[from].put(put(&name, "one")).await.unwrap();
        for client in &mut clients {
            let value = get(client, &name).await.unwrap();
            assert_eq!(
                (value.value, value.version),
                (b"one".to_vec(), done.get_ref().version.clone())
            );
        }
        // Whoever knows the version puts over it, on any node.
        let known = |version: &str| pb::PutValueRequest {
            if_version: Some(version.to_owned()),
            ..put(&name, "two")
        };
        let to = (from + 1) % 3;
        clients[to]
            .put(known(&done.get_ref().version))
            .await
            .unwrap();
        let status = clients[from]
            .put(known(&done.get_ref().version))
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Aborted);
        assert!(status.message().starts_with("if_version: `"), "{status}");
        assert_eq!(get(&mut clients[from], &name).await.unwrap().value, b"two");
    }
    purge(&mut clients[0], Scope::Value("user/1".to_owned())).await;
    purge(&mut clients[1], Scope::ValuePrefix("user/1".to_owned())).await;
    for client in &mut clients {
        for name in ["user/1", "user/10", "user/11"] {
            assert_eq!(get(client, name).await, Err(Code::NotFound));
        }
        assert!(get(client, "user/2").await.is_ok());
    }
    purge(&mut clients[2], Scope::Tag("users".to_owned())).await;
    for client in &mut clients {
        assert_eq!(get(client, "user/2").await, Err(Code::NotFound));
    }
    clients[0].put(put("user/2", "again")).await.unwrap();
    purge(&mut clients[1], Scope::All(true)).await;
    assert_eq!(get(&mut clients[2], "user/2").await, Err(Code::NotFound));
}

#[tokio::test]
async fn a_node_puts_touches_and_leases_nothing_that_another_one_owns_whoever_asks() {
    fn hop<T>(message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let yes = tonic::metadata::MetadataValue::from_static("1");
        request.metadata_mut().insert("x-weir-cache-hop", yes);
        request
    }
    let (_plane, _nodes, mut clients) = mesh().await;
    let mut owned = 0;
    for client in &mut clients {
        let touch = || {
            hop(pb::TouchValueRequest {
                key: key("k"),
                ttl_ms: 50_000,
                if_version: None,
            })
        };
        let load = || {
            hop(pb::LoadValueRequest {
                key: key("k"),
                lease_ms: 1_000,
                wait_ms: Some(0),
            })
        };
        let code = |status: tonic::Status| status.code();
        match client.put(hop(put("k", "one"))).await {
            Ok(_) => {
                owned += 1;
                client.touch(touch()).await.unwrap();
                client.get_or_load(load()).await.unwrap();
            }
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable, "{status}");
                assert!(status.message().contains("does not own"), "{status}");
                let touched = client.touch(touch()).await.map_err(code);
                assert_eq!(touched.unwrap_err(), Code::Unavailable);
                let loaded = client.get_or_load(load()).await.map_err(code);
                assert_eq!(loaded.unwrap_err(), Code::Unavailable);
            }
        }
    }
    assert_eq!(owned, 1);
    for client in &mut clients {
        assert_eq!(get(client, "k").await.unwrap().value, b"one");
    }
}

#[tokio::test]
async fn one_caller_of_a_whole_mesh_loads_and_the_others_get_what_it_puts() {
    let (_plane, _nodes, clients) = mesh().await;
    for number in 0..3 {
        let name = format!("cold/{number}");
        let crowd = (0..30).map(|at| {
            let (mut client, name) = (clients[at % 3].clone(), name.clone());
            async move {
                match load(&mut client, &name, 20_000, 20_000).await {
                    Outcome::Lease(lease) => {
                        // The others wait by now, or come later.
                        sleep(Duration::from_millis(100)).await;
                        let loaded = pb::PutValueRequest {
                            lease: lease.lease,
                            ..put(&name, "loaded")
                        };
                        client.put(loaded).await.unwrap();
                        None
                    }
                    Outcome::Value(value) => Some(value.value),
                    Outcome::Loading(loading) => panic!("{loading:?}"),
                }
            }
        });
        let answers = join_all(crowd).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 1);
        assert!(answers.iter().flatten().all(|value| value == b"loaded"));
    }
}

#[tokio::test]
async fn a_dead_loader_blocks_nobody_and_a_purge_beats_a_slow_one() {
    let (_plane, _nodes, mut clients) = mesh().await;
    let Outcome::Lease(_) = load(&mut clients[0], "dead", 300, 0).await else {
        panic!("there is nothing to find");
    };
    let Outcome::Loading(loading) = load(&mut clients[1], "dead", 300, 0).await else {
        panic!("somebody loads");
    };
    assert!((1..=300).contains(&loading.ends_in_ms), "{loading:?}");
    // Nobody puts: whoever waits loads when the lease has ended.
    let Outcome::Lease(_) = load(&mut clients[2], "dead", 300, 20_000).await else {
        panic!("the lease has ended");
    };
    let Outcome::Lease(slow) = load(&mut clients[0], "slow", 30_000, 0).await else {
        panic!("there is nothing to find");
    };
    purge(&mut clients[1], Scope::Value("slow".to_owned())).await;
    let Outcome::Lease(_) = load(&mut clients[2], "slow", 30_000, 0).await else {
        panic!("the purge has ended the lease");
    };
    let late = pb::PutValueRequest {
        lease: slow.lease,
        ..put("slow", "old")
    };
    let status = clients[0].put(late).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "{status}");
    assert!(status.message().starts_with("lease: "), "{status}");
    assert_eq!(get(&mut clients[1], "slow").await, Err(Code::NotFound));
}

#[tokio::test]
async fn changes_of_every_node_come_to_who_watches_on_one_and_go_on_where_they_broke_off() {
    let (_plane, _nodes, mut clients) = mesh().await;
    let of = Of::Prefix("user/".to_owned());
    let mut changes = watch(&mut clients[0], of.clone(), Vec::new()).await;
    let mut positions = std::collections::BTreeMap::new();
    while positions.len() < 3 {
        let begun = timeout(PATIENCE, changes.next()).await.unwrap();
        let begun = begun.unwrap().unwrap();
        assert_eq!(begun.kind, "watching");
        let at = begun.at.unwrap();
        positions.insert(at.node.clone(), at);
    }
    let mut keys = BTreeSet::new();
    for number in 0..9 {
        let name = format!("user/{number}");
        clients[number % 3].put(put(&name, "one")).await.unwrap();
        clients[1].put(put("other", "one")).await.unwrap();
        let change = next(&mut changes).await;
        assert_eq!((&*change.kind, &change.key), ("put", &name));
        assert!(!change.version.is_empty());
        keys.insert(change.at.clone().unwrap().node);
        positions.insert(change.at.clone().unwrap().node, change.at.unwrap());
    }
    assert_eq!(keys.len(), 3, "every node owns some");
    drop(changes);
    let brief = pb::PutValueRequest {
        ttl_ms: 400,
        ..put("user/brief", "one")
    };
    clients[2].put(put("user/missed", "one")).await.unwrap();
    let since = positions.into_values().collect();
    let mut changes = watch(&mut clients[1], of, since).await;
    assert_eq!(next(&mut changes).await.key, "user/missed");
    clients[0].put(brief).await.unwrap();
    assert_eq!(next(&mut changes).await.kind, "put");
    assert_eq!(next(&mut changes).await.kind, "expired");
    purge(&mut clients[2], Scope::Tag("users".to_owned())).await;
    let purged = next(&mut changes).await;
    assert_eq!((&*purged.kind, &*purged.scope), ("purged", "tag=users"));
    let strange = pb::WatchPosition {
        node: "node-a".to_owned(),
        epoch: 1,
        seq: 1,
    };
    let mut changes = watch(&mut clients[0], Of::Key("k".to_owned()), vec![strange]).await;
    let gap = next(&mut changes).await;
    assert_eq!(
        (&*gap.kind, &*gap.reason),
        ("gap", "the node has restarted")
    );
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_cut_and_told_why() {
    let weir = Weir::start("").await;
    let mut client = CacheClient::new(channel(weir.grpc).await);
    let of = Of::Prefix("k".to_owned());
    let mut changes = watch(&mut client, of, Vec::new()).await;
    let long = "k".repeat(1_000);
    // More than the log and everything on the way hold.
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (mut client, long) = (client.clone(), long.clone());
        writers.spawn(async move {
            for number in 0..700 {
                let tags = (0..8).map(|tag| format!("{tag}{}", "t".repeat(200)));
                let request = pb::PutValueRequest {
                    tags: tags.collect(),
                    ..put(&format!("{long}{writer}{number}"), "v")
                };
                client.put(request).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        assert!(Instant::now() < deadline, "never cut");
        match changes.next().await.expect("it ends with a reason") {
            Ok(_) => {}
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(
        status.message().starts_with("too slow: change "),
        "{status}"
    );
}

#[tokio::test]
async fn a_value_has_an_entity_tag_and_conditions_over_http() {
    let weir = Weir::start("[cache]\nnamespaces = [\"users\"]\n").await;
    let ask = async |method: &str, fields: &str, body: &str| {
        let request = format!(
            "{method} /api/cache/values/user/7?namespace=users{} HTTP/1.1\r\nHost: {}\r\n{fields}\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            if method == "PUT" {
                "&ttl=5m&tags=a,b"
            } else {
                ""
            },
            weir.api,
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(weir.api).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
            .await
            .unwrap();
        crate::common::read_to_end(&mut stream).await
    };
    assert!(ask("GET", "", "").await.starts_with("HTTP/1.1 404 "));
    let put = ask("PUT", "If-None-Match: *\r\n", "Ada").await;
    assert!(put.starts_with("HTTP/1.1 204 "), "{put}");
    let etag = put
        .split("etag: ")
        .nth(1)
        .unwrap()
        .split('\r')
        .next()
        .unwrap();
    assert!(
        ask("PUT", "If-None-Match: *\r\n", "Bob")
            .await
            .starts_with("HTTP/1.1 412 ")
    );
    let got = ask("GET", "", "").await;
    assert!(
        got.contains(&format!("etag: {etag}\r\n")) && got.ends_with("Ada"),
        "{got}"
    );
    let known = ask("GET", &format!("If-None-Match: {etag}\r\n"), "").await;
    assert!(known.starts_with("HTTP/1.1 304 "), "{known}");
    let compared = ask("PUT", &format!("If-Match: {etag}\r\n"), "Bob").await;
    assert!(compared.starts_with("HTTP/1.1 204 "), "{compared}");
    let lost = ask("PUT", &format!("If-Match: {etag}\r\n"), "Eve").await;
    assert!(
        lost.starts_with("HTTP/1.1 412 ") && lost.contains("if_version: "),
        "{lost}"
    );
    let long = ask("PUT", "", &"x".repeat(1_000_001)).await;
    let told = long.ends_with("more than 1000000 bytes, the longest that is kept\"}");
    assert!(told && long.starts_with("HTTP/1.1 413 "), "{long}");
    for (query, expected) in [
        ("?ttl=0s", "ttl: 0, expected at least 1ms"),
        ("?bogus=1", "allowed: namespace, ttl, tags"),
        ("%FF", "key: "),
    ] {
        let path = format!("/api/cache/values/user/7{query}");
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            weir.api
        );
        let mut stream = tokio::net::TcpStream::connect(weir.api).await.unwrap();
        let written = tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await;
        written.unwrap();
        let answer = crate::common::read_to_end(&mut stream).await;
        let is_told = answer.contains("\"invalid_argument\"") && answer.contains(expected);
        assert!(is_told && answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}

#[tokio::test]
async fn scripts_know_a_lost_race_by_its_exit_code() {
    let weir = Weir::start("").await;
    let put = ["cache", "put", "user/7", "Ada"];
    assert_eq!(weir.command(&put).await.0, 0);
    for condition in [&["--if-absent"][..], &["--if-version", "1-1"]] {
        let (code, said) = weir.command(&[&put[..], condition].concat()).await;
        assert_eq!(code, 5, "{said}");
    }
    let touch = ["cache", "touch", "user/7", "--if-version", "1-1"];
    assert_eq!(weir.command(&touch).await.0, 5);
    let (code, said) = weir.command(&[&put[..], &["--ttl", "0s"]].concat()).await;
    assert!(
        code == 2 && said.contains("expected at least 1ms"),
        "{said}"
    );
}

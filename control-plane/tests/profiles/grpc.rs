//! The services over a real connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Server};
use weir_control_plane::governance::identity::{Identity, Role};
use weir_control_plane::grpc::{
    AskNode, KnownNodes, ProfilesContext, ProfilesService, WeightsService,
};
use weir_control_plane::profiles::NodeFacts;
use weir_control_plane::sync::resources::ResourceSet;
use weir_control_plane::weights::WeightStore;
use weir_proto::control::v1::profiles_client::ProfilesClient;
use weir_proto::control::v1::profiles_server::ProfilesServer;
use weir_proto::control::v1::weights_client::WeightsClient;
use weir_proto::control::v1::weights_server::WeightsServer;
use weir_proto::control::v1::*;

use crate::support::{Home, NOW, embedded, node};

struct Nodes(Vec<NodeInfo>);

impl KnownNodes for Nodes {
    fn facts(&self) -> Arc<[NodeFacts]> {
        self.0.iter().map(|info| node(&info.node_id, &[])).collect()
    }

    fn infos(&self) -> BoxFuture<'_, Vec<NodeInfo>> {
        futures::future::ready(self.0.clone()).boxed()
    }
}

/// Only `n1` answers, and says one knob.
struct Ask;

impl AskNode for Ask {
    fn report(&self, node_id: &str) -> BoxFuture<'_, Result<EffectiveReport, String>> {
        let knob = EffectiveKnob {
            path: "ingress.headers_max".to_owned(),
            value: "7".to_owned(),
            source: "profile".to_owned(),
            ..EffectiveKnob::default()
        };
        let answer = match node_id {
            "n1" => Ok(EffectiveReport { knobs: vec![knob] }),
            _ => Err("it is not connected here".to_owned()),
        };
        futures::future::ready(answer).boxed()
    }
}

/// Serves on a free port until the test ends.
async fn serve(home: &Home, nodes: Vec<NodeInfo>) -> Channel {
    let profiles = ProfilesService::new(ProfilesContext {
        profiles: home.profiles.clone(),
        nodes: Arc::new(Nodes(nodes)),
        ask: Arc::new(Ask),
        now_unix_ms: Arc::new(|| NOW),
        steps: Default::default(),
    });
    let store = WeightStore::new(home.store.clone(), home.keys.clone());
    let mut registered = ResourceSet::default();
    registered.put("web/a", Bytes::new(), 1);
    let registered = watch::Sender::new(Arc::new(registered)).subscribe();
    let weights = WeightsService::new(store, registered, Arc::new(|| NOW));
    let guard = |mut request: tonic::Request<()>| {
        let mut identity = Identity::local();
        if request.metadata().contains_key("proven") {
            (identity.name, identity.role) = ("token-7".into(), Role::Operator);
        }
        request.extensions_mut().insert(identity);
        Ok(request)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(ProfilesServer::with_interceptor(profiles, guard))
        .add_service(WeightsServer::with_interceptor(weights, guard))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn info(node_id: &str) -> NodeInfo {
    NodeInfo {
        node_id: node_id.to_owned(),
        ..NodeInfo::default()
    }
}

#[tokio::test]
async fn a_refusal_arrives_with_every_problem_that_there_is_room_for() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let mut client = ProfilesClient::new(serve(&home, vec![]).await);
    let request = home.request("fleet", 0, &[("ingress.headers_max", "0"), ("a.b", "<ä>")]);
    let status = client.put_profile(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let lines: Vec<&str> = status.message().lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("ingress.headers_max: `0` is out of bounds (allowed: 1 to"));
    let details = PutProblems::decode(status.details()).unwrap().problems;
    assert_eq!((&*details[1].path, &*details[1].value), ("a.b", "<ä>"));
    // So many that they would burst the headers that most clients take.
    let paths: Vec<String> = (0..1_000).map(|n| format!("ä{n}")).collect();
    let set: Vec<(&str, &str)> = paths.iter().map(|path| (path.as_str(), "ä ä")).collect();
    let status = client
        .put_profile(home.request("fleet", 0, &set))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().ends_with("more"));
    let status = client.get_profile(GetProfileRequest {
        scope: "x/y".to_owned(),
        revision: 0,
    });
    assert_eq!(status.await.unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_profile_is_written_read_lost_and_listed_over_grpc() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let mut client = ProfilesClient::new(serve(&home, vec![info("n1")]).await);
    let mut put = home.request("fleet", 0, &[("ingress.headers_max", "7")]);
    put.author = "claimed".to_owned();
    let done = client.put_profile(put.clone()).await.unwrap().into_inner();
    assert_eq!(done.profile.as_ref().unwrap().author, "claimed");
    assert_eq!(
        (done.nodes[0].nodes, done.changes[0].apply),
        (1, done.nodes[0].changes[0].apply)
    );
    // One who is proven is who is proven, whatever is claimed.
    put = home.request("fleet", 1, &[("ingress.headers_max", "8")]);
    put.author = "claimed".to_owned();
    let mut proven = tonic::Request::new(put);
    proven.metadata_mut().insert("proven", "1".parse().unwrap());
    client.put_profile(proven).await.unwrap();
    let status = client
        .put_profile(home.request("fleet", 1, &[]))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    let told = "fleet is at revision 2, not 1: token-7 wrote it at 2026-03-01T12:00:00Z";
    assert_eq!(status.message(), told);
    let get = |scope: &str, revision| GetProfileRequest {
        scope: scope.to_owned(),
        revision,
    };
    let first = client
        .get_profile(get("fleet", 1))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first, done.profile.unwrap());
    let status = client.get_profile(get("fleet", 9)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let none = client
        .get_profile(get("node/x", 0))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((none.revision, &*none.scope), (0, "node/x"));
    let list = client.list_profiles(ListProfilesRequest {}).await.unwrap();
    assert_eq!(list.into_inner().profiles[0].revision, 2);
    let history = |entries_max| HistoryRequest {
        scope: "fleet".to_owned(),
        entries_max,
    };
    let found = client.history(history(0)).await.unwrap().into_inner();
    assert_eq!(found.revisions.len(), 2);
    let status = client.history(history(201)).await.unwrap_err();
    assert!(status.message().contains("1 to 200"), "{status:?}");
    let knobs = client
        .list_knobs(ListKnobsRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(knobs.knobs.len() > 100);
    let presets = client.list_presets(ListPresetsRequest {}).await.unwrap();
    assert_eq!(presets.into_inner().presets.len(), 5);
}

#[tokio::test]
async fn effective_shows_layers_and_what_the_node_says() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let mut client = ProfilesClient::new(serve(&home, vec![info("n1")]).await);
    home.set("fleet", 0, &[("ingress.headers_max", "7")])
        .await
        .unwrap();
    let mut ask = async |node_id: &str| {
        let node_id = node_id.to_owned();
        let answer = client.effective(EffectiveRequest { node_id }).await;
        answer.map(tonic::Response::into_inner)
    };
    let told = ask("n1").await.unwrap();
    assert_eq!(told.node_answer, "");
    let knobs = told.knobs.into_iter();
    let by_path: BTreeMap<String, LayeredKnob> = knobs
        .map(|knob| (knob.knob.as_ref().unwrap().path.clone(), knob))
        .collect();
    let given = &by_path["ingress.headers_max"];
    assert_eq!(
        (&*given.value, &*given.scope, given.revision),
        ("7", "fleet", 1)
    );
    assert_eq!(given.node.as_ref().unwrap().source, "profile");
    assert_eq!(by_path["balancer.policy"].scope, "defaults");
    let unknown = ask("n2").await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.message()),
        (Code::NotFound, "no node is called `n2`")
    );
    home.set("node/n2", 0, &[("ingress.headers_max", "8")])
        .await
        .unwrap();
    assert_eq!(
        ask("n2").await.unwrap().node_answer,
        "it is not connected here"
    );
    assert_eq!(
        ask("no node").await.unwrap_err().code(),
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_rollout_tells_who_took_it_and_who_refused() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    home.set("fleet", 0, &[("ingress.headers_max", "7")])
        .await
        .unwrap();
    let wanted = home
        .profiles
        .view()
        .offer_for("a", &BTreeMap::new())
        .hash
        .to_vec();
    let with = |node_id: &str, state: ProfileState| NodeInfo {
        profile: Some(state),
        ..info(node_id)
    };
    let taken = ProfileState {
        effective_hash: wanted.clone(),
        ..ProfileState::default()
    };
    let mut refused = ProfileState {
        offered_hash: wanted,
        ..ProfileState::default()
    };
    refused.set_last_attempt(ApplyStatus::Rejected);
    let nodes = vec![with("a", taken), info("b"), with("c", refused)];
    let mut client = ProfilesClient::new(serve(&home, nodes).await);
    let mut ask = async |scope: &str| {
        let scope = scope.to_owned();
        client
            .rollout(RolloutRequest { scope })
            .await
            .unwrap()
            .into_inner()
    };
    let all = ask("").await;
    assert_eq!(all.nodes_total, 3);
    assert_eq!(
        (all.nodes_effective, all.nodes_rejected, all.nodes_pending),
        (1, 1, 1)
    );
    let ids: Vec<&str> = all.nodes.iter().map(|info| &*info.node_id).collect();
    assert_eq!(ids, ["c", "b", "a"], "those first that need somebody");
    let one = ask("node/a").await;
    assert_eq!((one.nodes_total, one.nodes_effective), (1, 1));
    assert_eq!(ask("group/none").await.nodes_total, 0);
}

#[tokio::test]
async fn weights_are_set_and_read_over_grpc() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let mut client = WeightsClient::new(serve(&home, vec![]).await);
    let mut set = SetWeightsRequest {
        service: "web".to_owned(),
        set: [("a".to_owned(), 5)].into(),
        write_id: "w1".to_owned(),
        expected_revision: Some(0),
        author: "bo".to_owned(),
        ..SetWeightsRequest::default()
    };
    let done = client.set_weights(set.clone()).await.unwrap().into_inner();
    assert_eq!((done.revision, &*done.author), (1, "bo"));
    let service = "web".to_owned();
    let found = client
        .get_weights(GetWeightsRequest { service })
        .await
        .unwrap();
    assert_eq!(found.into_inner(), done);
    let list = client.list_weights(ListWeightsRequest {}).await.unwrap();
    assert_eq!(list.into_inner().weights, [done]);
    set.write_id = "w2".to_owned();
    let status = client.set_weights(set.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted);
    set.set = [("a".to_owned(), 70_000)].into();
    let status = client.set_weights(set).await.unwrap_err();
    assert_eq!(
        status.message(),
        "set.a: `70000` is out of bounds (allowed: 0 to 65535)"
    );
}

#[tokio::test]
async fn weights_of_names_that_nobody_registered_are_written_and_warned_of() {
    let (_folder, store) = embedded().await;
    let home = Home::on(store);
    let mut client = WeightsClient::new(serve(&home, vec![]).await);
    let mut set = async |service: &str, backend: &str| {
        let request = SetWeightsRequest {
            service: service.to_owned(),
            set: [(backend.to_owned(), 5)].into(),
            write_id: format!("{service}-{backend}"),
            ..SetWeightsRequest::default()
        };
        let done = client.set_weights(request).await.unwrap().into_inner();
        assert_eq!(done.weights[backend], 5);
        done.warnings
    };
    assert_eq!(set("web", "a").await, [""; 0]);
    let told = set("web", "aa").await;
    assert!(
        told[0].starts_with("no backend `aa` of service `web` is registered"),
        "{told:?}"
    );
    let told = set("wbe", "a").await;
    assert!(
        told[0].starts_with("no backend of service `wbe` is registered"),
        "{told:?}"
    );
}

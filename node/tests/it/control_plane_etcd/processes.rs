//! Instances as processes, and words for what operators ask of them.

use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;
use weir_proto::control::v1::nodes_client::NodesClient;
use weir_proto::control::v1::profiles_client::ProfilesClient;

use crate::common::{PATIENCE, free_ports};

/// The knob that these tests turn.
pub(super) const KNOB: &str = "ingress.headers_max";
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// An instance in a process of its own. It is killed when this is dropped.
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) api: Api,
    /// Of etcd.
    members: Vec<String>,
    folder: tempfile::TempDir,
    child: Child,
}

impl Instance {
    /// Starts one and waits until it knows who leads.
    pub(super) async fn start(name: &str, members: &[String]) -> Self {
        let mut instance = Self::spawn(name, members);
        instance.is_up().await;
        instance
    }

    /// Starts one, whoever answers it.
    pub(super) fn spawn(name: &str, members: &[String]) -> Self {
        let [address] = free_ports();
        let folder = tempfile::tempdir().unwrap();
        Self {
            name: name.to_owned(),
            address,
            api: Api::to(address),
            members: members.to_vec(),
            child: spawn(name, address, members, &folder),
            folder,
        }
    }

    /// Starts a second one of this name; its exit code and log when it ends.
    pub(super) async fn start_twin(&self) -> (Option<i32>, String) {
        let [address] = free_ports();
        let folder = tempfile::tempdir().unwrap();
        let mut twin = spawn(&self.name, address, &self.members, &folder);
        let ended = tokio::time::timeout(PATIENCE, twin.wait()).await;
        let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
        (ended.expect("it ends").unwrap().code(), log)
    }

    /// Ends it as kill -9 does.
    pub(super) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again.
    pub(super) async fn start_again(&mut self) {
        self.child = spawn(&self.name, self.address, &self.members, &self.folder);
        self.is_up().await;
    }

    /// Stops its clock.
    pub(super) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until its log has this.
    pub(super) async fn says(&self, line: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(line) {
            assert!(Instant::now() < deadline, "no `{line}` in {}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn is_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.api.status().await;
            if status.is_ok_and(|status| !status.leader.is_empty() && !status.epoch.is_empty()) {
                return;
            }
            let ended = self.child.try_wait().unwrap().is_some();
            assert!(!ended && Instant::now() < deadline, "{}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }
}

fn spawn(name: &str, address: SocketAddr, members: &[String], folder: &tempfile::TempDir) -> Child {
    let members: Vec<&str> = members
        .iter()
        .map(|url| url.trim_start_matches("http://"))
        .collect();
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("log"));
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(["control-plane", "--name", name])
        .args(["--listen", &address.to_string()])
        .args(["--store", &format!("etcd://{}", members.join(","))])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// A way to one instance. Connects when it is needed.
#[derive(Clone)]
pub(super) struct Api(Channel);

impl Api {
    fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(4));
        Self(endpoint.connect_lazy())
    }

    pub(super) async fn status(&self) -> Result<pb::ControlPlaneStatus, Status> {
        let mut client = ControlPlaneClient::new(self.0.clone());
        let told = client.get_control_plane(pb::GetControlPlaneRequest {});
        Ok(told.await?.into_inner())
    }

    pub(super) async fn node(&self, id: &str) -> Result<pb::NodeInfo, Status> {
        let request = pb::GetNodeRequest {
            node_id: id.to_owned(),
        };
        let told = NodesClient::new(self.0.clone()).get_node(request).await?;
        Ok(told.into_inner())
    }

    /// Every list of nodes as it changes.
    pub(super) async fn watch(&self) -> tonic::Streaming<pb::ListNodesResponse> {
        // A watch lasts longer than a call.
        let mut client = NodesClient::new(self.0.clone());
        let mut request = tonic::Request::new(pb::WatchNodesRequest {});
        request.set_timeout(Duration::from_secs(600));
        client.watch_nodes(request).await.unwrap().into_inner()
    }

    pub(super) async fn put(&self, put: pb::PutProfileRequest) -> Result<u64, Status> {
        let done = ProfilesClient::new(self.0.clone()).put_profile(put).await?;
        Ok(done.into_inner().profile.unwrap().revision)
    }

    async fn newest(&self, scope: &str) -> Result<u64, Status> {
        let request = pb::GetProfileRequest {
            scope: scope.to_owned(),
            revision: 0,
        };
        let mut client = ProfilesClient::new(self.0.clone());
        let found = client.get_profile(request).await?;
        Ok(found.into_inner().revision)
    }

    /// The fleet's revisions, the first first: what each set the knob to.
    pub(super) async fn history(&self) -> Vec<(u64, u64)> {
        let request = pb::HistoryRequest {
            scope: "fleet".to_owned(),
            entries_max: 200,
        };
        let history = ProfilesClient::new(self.0.clone()).history(request).await;
        let value = |revision: &pb::ProfileRevision| {
            let set = revision.settings.iter().find(|set| set.path == KNOB);
            set.map_or(0, |set| set.value.parse().unwrap())
        };
        let history = history.unwrap().into_inner().revisions;
        let revisions = history.iter().rev();
        revisions.map(|r| (r.revision, value(r))).collect()
    }

    /// The knob of a node: what the layers give, what the node says.
    pub(super) async fn effective(&self, id: &str) -> (String, String) {
        let request = pb::EffectiveRequest {
            node_id: id.to_owned(),
        };
        let told = ProfilesClient::new(self.0.clone()).effective(request).await;
        let knobs = told.unwrap().into_inner().knobs;
        let is_it = |layered: &&pb::LayeredKnob| {
            let knob = layered.knob.as_ref();
            knob.is_some_and(|knob| knob.path == KNOB)
        };
        let knob = knobs.iter().find(is_it).unwrap();
        let node = knob.node.as_ref().map_or("", |node| node.value.as_str());
        (knob.value.clone(), node.to_owned())
    }

    /// Waits until a node is so.
    pub(super) async fn until_node(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&pb::NodeInfo) -> bool,
    ) -> pb::NodeInfo {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.node(id).await {
                Ok(node) if is_so(&node) => return node,
                told if Instant::now() > deadline => panic!("{id}: {what}: {told:?}"),
                _ => sleep(LOOK_INTERVAL).await,
            }
        }
    }
}

/// Sets the knob in a scope, through one of these ways, once; returns the revision.
pub(super) async fn set(ways: &[&Api], scope: &str, value: u64, ttl_ms: u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    let mut expected = None;
    for at in 0.. {
        let way = ways[at % ways.len()];
        let done = async {
            if expected.is_none() {
                expected = Some(way.newest(scope).await?);
            }
            let put = pb::PutProfileRequest {
                scope: scope.to_owned(),
                expected_revision: expected.unwrap_or_default(),
                write_id: format!("set-{value}"),
                set: vec![pb::TextSetting {
                    path: KNOB.to_owned(),
                    value: value.to_string(),
                }],
                ttl_ms,
                author: "test".to_owned(),
                ..pb::PutProfileRequest::default()
            };
            way.put(put).await
        };
        match done.await {
            Ok(revision) => return revision,
            Err(status) if Instant::now() > deadline => panic!("{value}: {status}"),
            // Only an answer tells that nothing was written.
            Err(status) if status.code() == Code::Aborted => expected = None,
            Err(_) => sleep(LOOK_INTERVAL).await,
        }
    }
    unreachable!("it ends by an answer or by its deadline")
}

//! A control plane in a process of its own, with the store that is one file.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::{Channel, Endpoint};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;
use weir_proto::control::v1::nodes_client::NodesClient;
use weir_proto::control::v1::profiles_client::ProfilesClient;
use weir_proto::control::v1::registry_client::RegistryClient;
use weir_proto::control::v1::weights_client::WeightsClient;

use crate::common::{PATIENCE, free_ports};
use crate::control_cli::{Ended, weir};

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A running control plane.
pub struct ControlPlane {
    pub address: SocketAddr,
    child: Child,
    folder: tempfile::TempDir,
    flags: Vec<String>,
    channel: Channel,
}

impl ControlPlane {
    /// Starts one that is open to everyone, and waits until it answers.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with these flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let mut plane = Self::spawn(flags);
        plane.is_up().await;
        plane
    }

    /// One with these flags; it may answer nobody without a token.
    pub fn spawn(flags: &[&str]) -> Self {
        let [address] = free_ports();
        let folder = super::folder();
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Self {
            address,
            child: run(address, folder.path(), &flags),
            folder,
            flags,
            channel: endpoint.connect_lazy(),
        }
    }

    async fn is_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut client = ControlPlaneClient::new(self.channel.clone());
        while client
            .get_control_plane(pb::GetControlPlaneRequest {})
            .await
            .is_err()
        {
            let ended = self.child.try_wait().unwrap().is_some();
            assert!(!ended, "the control plane ended: {}", self.log());
            assert!(Instant::now() < deadline, "no answer: {}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Ends it as a crash would.
    pub async fn crash(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Ends it in order.
    pub async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let ended = timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.expect("it stops").unwrap().success());
    }

    /// Starts again what has ended, and waits until it answers.
    pub async fn start_again(&mut self) {
        self.spawn_again();
        self.is_up().await;
    }

    /// Starts again what has ended; it may answer nobody without a token.
    pub fn spawn_again(&mut self) {
        self.child = run(self.address, self.folder.path(), &self.flags);
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        let id = self.child.id().expect("it runs");
        Pid::from_raw(id.try_into().unwrap()).unwrap()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Memory that it has for itself.
    pub fn resident_bytes(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid().as_raw_pid());
        let status = std::fs::read_to_string(status).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<u64>().unwrap() << 10
    }

    /// Runs a command against it.
    pub async fn weir(&self, arguments: &[&str]) -> Ended {
        weir(&self.address.to_string(), arguments).await
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub fn registry(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel())
    }

    /// Sets knobs of the whole fleet.
    pub async fn tune(&self, settings: &[(&str, &str)]) -> pb::ProfileRevision {
        self.tune_scope("fleet", settings).await
    }

    /// Sets knobs of a scope, and waits until the control plane wants them on its nodes.
    pub async fn tune_scope(&self, scope: &str, settings: &[(&str, &str)]) -> pb::ProfileRevision {
        let mut nodes = NodesClient::new(self.channel());
        let list = pb::ListNodesRequest::default();
        let before = nodes.list_nodes(list).await.unwrap().into_inner().nodes;
        let tuned = self.try_tune(scope, settings).await;
        let tuned = tuned.unwrap_or_else(|status| panic!("{status}"));
        for id in tuned.nodes.iter().flat_map(|diff| &diff.node_ids) {
            let before = before.iter().find(|node| node.node_id == *id);
            let before = before.map(|node| node.wanted_hash.clone());
            self.sees(id, "shall have it", |node| {
                Some(&node.wanted_hash) != before.as_ref()
            })
            .await;
        }
        tuned.profile.unwrap()
    }

    /// Sets knobs of a scope, at most once.
    pub async fn try_tune(
        &self,
        scope: &str,
        settings: &[(&str, &str)],
    ) -> Result<pb::PutProfileResponse, tonic::Status> {
        let mut profiles = ProfilesClient::new(self.channel());
        let head = pb::GetProfileRequest {
            scope: scope.to_owned(),
            revision: 0,
        };
        let head = profiles.get_profile(head).await?.into_inner();
        let set = |(path, value): &(&str, &str)| pb::TextSetting {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
        };
        let put = pb::PutProfileRequest {
            scope: scope.to_owned(),
            expected_revision: head.revision,
            write_id: format!("{:032x}", fastrand::u128(..)),
            set: settings.iter().map(set).collect(),
            ..pb::PutProfileRequest::default()
        };
        Ok(profiles.put_profile(put).await?.into_inner())
    }

    pub async fn weigh(&self, service: &str, weights: &[(&str, u32)]) {
        let set = weights
            .iter()
            .map(|(id, weight)| ((*id).to_owned(), *weight));
        let request = pb::SetWeightsRequest {
            service: service.to_owned(),
            set: set.collect(),
            write_id: format!("{:032x}", fastrand::u128(..)),
            ..pb::SetWeightsRequest::default()
        };
        let mut weights = WeightsClient::new(self.channel());
        weights.set_weights(request).await.unwrap();
    }

    /// What it knows of a node; a default one if nothing.
    pub async fn node(&self, id: &str) -> pb::NodeInfo {
        let mut nodes = NodesClient::new(self.channel());
        let request = pb::GetNodeRequest {
            node_id: id.to_owned(),
        };
        let node = nodes.get_node(request).await;
        node.map(tonic::Response::into_inner).unwrap_or_default()
    }

    /// Waits until it knows this of a node.
    pub async fn sees(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&pb::NodeInfo) -> bool,
    ) -> pb::NodeInfo {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let node = self.node(id).await;
            if is_so(&node) {
                return node;
            }
            let late = Instant::now() >= deadline;
            assert!(!late, "not so: {id} {what}: {node:#?}\n{}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }

    pub async fn sees_connected(&self, id: &str) -> pb::NodeInfo {
        self.sees(id, "is connected", is_connected).await
    }

    /// Waits until a node is there and has in force what it should.
    pub async fn sees_in_sync(&self, id: &str) -> pb::NodeInfo {
        let in_sync = |node: &pb::NodeInfo| is_connected(node) && is_in_sync(node);
        self.sees(id, "is in sync", in_sync).await
    }
}

/// Whether a node is there, and known to be: what a killed control plane has said of it stays for a while.
pub fn is_connected(node: &pb::NodeInfo) -> bool {
    let is_known = node.heartbeat.is_some() && !node.boot_id.is_empty();
    is_known && node.presence() == pb::Presence::Connected
}

/// Whether a node has in force what is wanted there.
pub fn is_in_sync(node: &pb::NodeInfo) -> bool {
    let profile = node.profile.as_ref();
    profile.is_some_and(|profile| profile.effective_hash == node.wanted_hash)
}

fn run(address: SocketAddr, folder: &Path, flags: &[String]) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .unwrap();
    Command::new(env!("CARGO_BIN_EXE_weir"))
        .args([
            "control-plane",
            "--listen",
            &address.to_string(),
            "--data-dir",
        ])
        .arg(folder.join("store"))
        .args(flags)
        .env_remove("WEIR_STORE")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

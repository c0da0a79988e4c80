//! What operators do, in few words.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;
use weir_proto::control::v1::nodes_client::NodesClient;
use weir_proto::control::v1::profiles_client::ProfilesClient;
use weir_proto::control::v1::registry_client::RegistryClient;
use weir_proto::control::v1::weights_client::WeightsClient;

use crate::instance::PATIENCE;
use crate::node::KNOB;

/// A way to one instance. Connects when it is needed.
#[derive(Clone)]
pub(crate) struct Api {
    channel: Channel,
}

impl Api {
    pub(crate) fn to(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let endpoint = endpoint
            .connect_timeout(Duration::from_secs(1))
            .timeout(Duration::from_secs(8));
        Self {
            channel: endpoint.connect_lazy(),
        }
    }

    pub(crate) fn profiles(&self) -> ProfilesClient<Channel> {
        ProfilesClient::new(self.channel.clone())
    }

    pub(crate) fn nodes(&self) -> NodesClient<Channel> {
        NodesClient::new(self.channel.clone())
    }

    pub(crate) fn registry(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel.clone())
    }

    pub(crate) fn weights(&self) -> WeightsClient<Channel> {
        WeightsClient::new(self.channel.clone())
    }

    pub(crate) async fn status(&self) -> Result<pb::ControlPlaneStatus, Status> {
        let mut client = ControlPlaneClient::new(self.channel.clone());
        let told = client.get_control_plane(pb::GetControlPlaneRequest {});
        Ok(told.await?.into_inner())
    }

    /// The newest revision of the fleet's profile.
    pub(crate) async fn newest(&self) -> Result<u64, Status> {
        let request = pb::GetProfileRequest {
            scope: "fleet".to_owned(),
            revision: 0,
        };
        let found = self.profiles().get_profile(request).await?;
        Ok(found.into_inner().revision)
    }

    pub(crate) async fn put(
        &self,
        put: pb::PutProfileRequest,
    ) -> Result<pb::PutProfileResponse, Status> {
        Ok(self.profiles().put_profile(put).await?.into_inner())
    }

    /// Sets the knob for all, however often it takes.
    pub(crate) async fn set(&self, value: u64) -> u64 {
        Writer::new(std::slice::from_ref(self), "set")
            .write(value)
            .await
    }

    pub(crate) async fn node(&self, id: &str) -> Result<pb::NodeInfo, Status> {
        let request = pb::GetNodeRequest {
            node_id: id.to_owned(),
        };
        Ok(self.nodes().get_node(request).await?.into_inner())
    }

    /// Waits until a node is so.
    pub(crate) async fn until_node(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&pb::NodeInfo) -> bool,
    ) -> pb::NodeInfo {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let told = self.node(id).await;
            match told {
                Ok(node) if is_so(&node) => return node,
                told if Instant::now() > deadline => panic!("{id}: {what}: {told:?}"),
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Waits until the instance answers and says this.
    pub(crate) async fn until_status(
        &self,
        what: &str,
        is_so: impl Fn(&pb::ControlPlaneStatus) -> bool,
    ) -> pb::ControlPlaneStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.status().await {
                Ok(status) if is_so(&status) => return status,
                told if Instant::now() > deadline => panic!("{what}: {told:?}"),
                _ => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The fleet's revisions, the first first: what each set the knob to.
    pub(crate) async fn history(&self) -> Vec<(u64, u64)> {
        let request = pb::HistoryRequest {
            scope: "fleet".to_owned(),
            entries_max: 200,
        };
        let history = self.profiles().history(request).await.unwrap().into_inner();
        let value = |revision: &pb::ProfileRevision| {
            let set = revision.settings.iter().find(|set| set.path == KNOB);
            set.map_or(0, |set| set.value.parse().unwrap())
        };
        let revisions = history.revisions.iter().rev();
        revisions.map(|r| (r.revision, value(r))).collect()
    }
}

/// A request that sets the knob in a scope.
pub(crate) fn put(scope: &str, expected: u64, value: u64) -> pb::PutProfileRequest {
    pb::PutProfileRequest {
        scope: scope.to_owned(),
        expected_revision: expected,
        set: vec![pb::TextSetting {
            path: KNOB.to_owned(),
            value: value.to_string(),
        }],
        author: "test".to_owned(),
        write_id: format!("put-{expected}-{value}"),
        ..pb::PutProfileRequest::default()
    }
}

/// Writes through one instance, and through the next after an error.
pub(crate) struct Writer {
    ways: Vec<Api>,
    name: String,
    at: usize,
    written: u64,
    pub(crate) errors: u32,
}

impl Writer {
    pub(crate) fn new(ways: &[Api], name: &str) -> Self {
        Self {
            ways: ways.to_vec(),
            name: name.to_owned(),
            at: 0,
            written: 0,
            errors: 0,
        }
    }

    /// Sets the knob for all; returns the revision.
    pub(crate) async fn write(&mut self, value: u64) -> u64 {
        self.written += 1;
        let write_id = format!("{}-{}-{value}", self.name, self.written);
        let deadline = Instant::now() + PATIENCE;
        let mut seen = None;
        loop {
            let expected = match seen {
                Some(expected) => expected,
                None => self.newest(deadline).await,
            };
            let request = pb::PutProfileRequest {
                write_id: write_id.clone(),
                ..put("fleet", expected, value)
            };
            match self.way().put(request).await {
                Ok(done) => return done.profile.unwrap().revision,
                // Somebody else was faster: nothing was written.
                Err(status) if status.code() == Code::Aborted => seen = None,
                Err(status) => {
                    assert!(Instant::now() < deadline, "{write_id}: {status}");
                    // It may have been written: only the very same request may be sent again.
                    seen = Some(expected);
                    self.next_way().await;
                }
            }
        }
    }

    async fn newest(&mut self, deadline: Instant) -> u64 {
        loop {
            match self.way().newest().await {
                Ok(revision) => return revision,
                Err(status) => assert!(Instant::now() < deadline, "{status}"),
            }
            self.next_way().await;
        }
    }

    fn way(&self) -> &Api {
        &self.ways[self.at % self.ways.len()]
    }

    async fn next_way(&mut self) {
        self.errors += 1;
        self.at += 1;
        sleep(Duration::from_millis(50)).await;
    }
}

//! Who changes the profile.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::Channel;
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::profiles_client::ProfilesClient;

use super::PATIENCE;
use super::process::ControlPlane;

const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// An operator with an open connection, who alone writes the profile of the fleet.
pub(super) struct Operator {
    profiles: ProfilesClient<Channel>,
    revision: u64,
    number: u32,
}

impl Operator {
    /// One of a new control plane.
    pub(super) async fn connect(control_plane: &ControlPlane) -> Result<Self, String> {
        let channel = control_plane.channel().await;
        let channel = channel.map_err(|error| error.to_string())?;
        Ok(Self {
            profiles: ProfilesClient::new(channel),
            revision: 0,
            number: 0,
        })
    }

    /// Sets every knob, one of them to what it never was; when the call began.
    pub(super) async fn change(&mut self) -> Result<Instant, String> {
        self.number += 1;
        let request = self.request();
        let begun = Instant::now();
        match self.put(request).await? {
            true => Ok(begun),
            false => Err("a change changed nothing".to_owned()),
        }
    }

    /// Writes what is there already.
    pub(super) async fn write_the_same(&mut self) -> Result<(), String> {
        match self.put(self.request()).await? {
            true => Err("the same profile was taken for another one".to_owned()),
            false => Ok(()),
        }
    }

    /// Waits until the control plane itself says that this many nodes have what is wanted.
    pub(super) async fn all_effective(&mut self, nodes: u32) -> Result<Instant, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rollout = self.profiles.rollout(pb::RolloutRequest::default()).await;
            let rollout = rollout.map_err(|error| error.to_string())?.into_inner();
            let now = Instant::now();
            if rollout.nodes_effective == u64::from(nodes) {
                return Ok(now);
            }
            if now >= deadline {
                let effective = rollout.nodes_effective;
                return Err(format!("the profile is effective on {effective} nodes"));
            }
            sleep(LOOK_INTERVAL).await;
        }
    }

    fn request(&self) -> pb::PutProfileRequest {
        let value = |knob: &weir_core::tuning::Knob| match knob.path {
            "ingress.connections_max" => (1_000 + self.number).to_string(),
            _ => knob.default_value().to_string(),
        };
        let set = weir_core::tuning::all().map(|knob| pb::TextSetting {
            path: knob.path.to_owned(),
            value: value(knob),
        });
        pb::PutProfileRequest {
            scope: "fleet".to_owned(),
            expected_revision: self.revision,
            write_id: format!("bench-{}-{}", self.number, self.revision),
            replace: true,
            set: set.collect(),
            author: "bench".to_owned(),
            ..pb::PutProfileRequest::default()
        }
    }

    async fn put(&mut self, request: pb::PutProfileRequest) -> Result<bool, String> {
        let put = self.profiles.put_profile(request).await;
        let put = put.map_err(|error| error.to_string())?.into_inner();
        self.revision = put.profile.unwrap_or_default().revision;
        Ok(put.changed)
    }
}

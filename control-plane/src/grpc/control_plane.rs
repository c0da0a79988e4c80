//! `weir.control.v1.ControlPlane`.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::control_plane_server;
use weir_proto::node::v1 as node;

use super::traces;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::store::Store;
use crate::sync::Parts;

/// Tells how the control plane is.
#[derive(Clone)]
pub(super) struct ControlPlaneService {
    parts: Arc<Parts>,
    store: Arc<dyn Store>,
}

impl ControlPlaneService {
    /// A service over an instance; it belongs behind a guard.
    pub(super) fn new(parts: Arc<Parts>, store: Arc<dyn Store>) -> Self {
        Self { parts, store }
    }
}

#[tonic::async_trait]
impl control_plane_server::ControlPlane for ControlPlaneService {
    async fn get_control_plane(
        &self,
        request: Request<pb::GetControlPlaneRequest>,
    ) -> Result<Response<pb::ControlPlaneStatus>, Status> {
        allow(&request, &Action::ReadAll)?;
        let parts = &self.parts;
        let streams = parts.sessions.count().await as u64;
        let mut told = pb::ControlPlaneStatus {
            instance: parts.instance.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: parts
                .epoch
                .borrow()
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
            streams,
            ..pb::ControlPlaneStatus::default()
        };
        match self.store.status().await {
            Ok(status) => {
                told.store_healthy = status.healthy;
                told.store_problems = status.problems;
                told.store_revision = status.revision.0;
                told.store_disk_bytes = status.disk_bytes;
            }
            Err(error) => told.store_problems.push(error.to_string()),
        }
        let lost = [&parts.view.cfg, &parts.view.live].map(|part| part.borrow().lost.clone());
        told.store_problems.extend(lost.into_iter().flatten());
        let oversized = parts.view.oversized();
        told.store_problems
            .extend(oversized.iter().map(ToString::to_string));
        let profiles = Arc::clone(&parts.view.profiles.borrow());
        told.store_problems
            .extend(profiles.problems().iter().cloned());
        {
            let leader = parts.leader.borrow();
            told.leader = leader.leader.clone().unwrap_or_default();
            told.leader_term = leader.term;
        }
        let instances = parts.view.instances.borrow();
        let named = |(name, address): (&String, &String)| format!("{name} ({address})");
        told.instances = instances.iter().map(named).collect();
        Ok(Response::new(told))
    }
    async fn get_trace(
        &self,
        request: Request<node::GetTraceRequest>,
    ) -> Result<Response<node::Trace>, Status> {
        allow(&request, &Action::ReadTraces)?;
        let parts = &self.parts;
        let trace = traces::get(
            (&parts.steps, &parts.clock, &parts.instance),
            &request.get_ref().id,
        );
        trace.map(Response::new)
    }

    async fn tell_command(
        &self,
        request: Request<pb::TellCommandRequest>,
    ) -> Result<Response<pb::TellCommandResponse>, Status> {
        allow(&request, &Action::ChangeProfile)?;
        traces::tell_command(&self.parts.steps, request.get_ref())?;
        Ok(Response::new(pb::TellCommandResponse {}))
    }
}

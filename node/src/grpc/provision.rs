//! `weir.node.v1.Provision`: engines.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::provision_response::Outcome;
use weir_proto::node::v1::provision_server::Provision;

use super::status;
use crate::engine_api::{EngineApi, LINES_MAX, refusal};
use crate::telemetry::spans::parent_of;

/// The service. Cheap to clone.
#[derive(Clone)]
pub(super) struct ProvisionService {
    pub(super) engines: EngineApi,
}

type EngineLists = Pin<Box<dyn Stream<Item = Result<pb::ListEnginesResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Provision for ProvisionService {
    async fn provision(
        &self,
        request: Request<pb::ProvisionRequest>,
    ) -> Result<Response<pb::ProvisionResponse>, Status> {
        let caller = parent_of(request.metadata().as_ref());
        let pb::ProvisionRequest {
            service,
            idempotency_key,
        } = request.into_inner();
        let wished = self
            .engines
            .provision(&service, &idempotency_key, caller)
            .await;
        let outcome = match wished {
            Ok(wished) => Outcome::Job(pb::ProvisionJob {
                job_id: wished.job_id,
                engine_id: String::new(),
                already: wished.already,
            }),
            Err(refused) => Outcome::Refusal(refusal(&refused)),
        };
        Ok(Response::new(pb::ProvisionResponse {
            outcome: Some(outcome),
        }))
    }

    async fn stop_engine(
        &self,
        request: Request<pb::StopEngineRequest>,
    ) -> Result<Response<pb::StopEngineResponse>, Status> {
        let pb::StopEngineRequest { engine_id, now } = request.into_inner();
        let stopped = self.engines.stop(&engine_id, now).await;
        stopped.map_err(|error| status::of_engines(&error))?;
        Ok(Response::new(pb::StopEngineResponse {}))
    }

    async fn list_engines(
        &self,
        request: Request<pb::ListEnginesRequest>,
    ) -> Result<Response<pb::ListEnginesResponse>, Status> {
        Ok(Response::new(
            self.engines.list(request.get_ref().mesh).await,
        ))
    }

    type WatchEnginesStream = EngineLists;

    async fn watch_engines(
        &self,
        request: Request<pb::ListEnginesRequest>,
    ) -> Result<Response<EngineLists>, Status> {
        let lists = self.engines.watch_engines(request.get_ref().mesh);
        Ok(Response::new(Box::pin(lists.map(Ok))))
    }

    async fn engine_logs(
        &self,
        request: Request<pb::EngineLogsRequest>,
    ) -> Result<Response<pb::EngineLogsResponse>, Status> {
        let pb::EngineLogsRequest {
            engine_id,
            lines_max,
        } = request.into_inner();
        if lines_max as usize > LINES_MAX {
            return Err(Status::invalid_argument(format!(
                "lines_max: {lines_max} is out of bounds (0 to {LINES_MAX})"
            )));
        }
        let lines = self.engines.logs(&engine_id, lines_max as usize).await;
        let lines = lines.map_err(|error| status::of_engines(&error))?;
        Ok(Response::new(pb::EngineLogsResponse { lines }))
    }

    async fn get_provisioning(
        &self,
        _: Request<pb::GetProvisioningRequest>,
    ) -> Result<Response<pb::Provisioning>, Status> {
        Ok(Response::new(self.engines.provisioning()))
    }
}

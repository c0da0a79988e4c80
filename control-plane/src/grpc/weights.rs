//! `weir.control.v1.Weights`.

use tonic::{Request, Response, Status};
use weir_proto::control::v1::weights_server::Weights;
use weir_proto::control::v1::{
    GetWeightsRequest, ListWeightsRequest, ListWeightsResponse, SetWeightsRequest, WeightsRevision,
};

use super::{actor_of, status, wire};
use crate::clock::NowUnixMs;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::weights::WeightStore;

/// Shares of new work, service by service.
pub struct WeightsService {
    weights: WeightStore,
    now_unix_ms: NowUnixMs,
}

impl std::fmt::Debug for WeightsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeightsService").finish_non_exhaustive()
    }
}

impl WeightsService {
    /// On these weights and this clock.
    pub fn new(weights: WeightStore, now_unix_ms: NowUnixMs) -> Self {
        Self {
            weights,
            now_unix_ms,
        }
    }
}

#[tonic::async_trait]
impl Weights for WeightsService {
    async fn get_weights(
        &self,
        request: Request<GetWeightsRequest>,
    ) -> Result<Response<WeightsRevision>, Status> {
        allow(&request, &Action::ReadAll)?;
        let found = self.weights.get(&request.get_ref().service).await;
        let found = found.map_err(|error| status::weights(&error))?;
        Ok(Response::new(wire::weights(found)))
    }

    async fn list_weights(
        &self,
        request: Request<ListWeightsRequest>,
    ) -> Result<Response<ListWeightsResponse>, Status> {
        allow(&request, &Action::ReadAll)?;
        let found = self.weights.list().await;
        let found = found.map_err(|error| status::weights(&error))?;
        Ok(Response::new(ListWeightsResponse {
            weights: found.into_iter().map(wire::weights).collect(),
        }))
    }

    async fn set_weights(
        &self,
        request: Request<SetWeightsRequest>,
    ) -> Result<Response<WeightsRevision>, Status> {
        let actor = actor_of(&request, &Action::ChangeWeights, &request.get_ref().author)?;
        let (request, now) = (request.get_ref(), (self.now_unix_ms)());
        let set = self.weights.set(request, &actor, now).await;
        let set = set.map_err(|error| status::set(&error))?;
        Ok(Response::new(wire::weights(set)))
    }
}

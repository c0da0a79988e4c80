//! `weir.control.v1.Weights`.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::{Request, Response, Status};
use weir_proto::control::v1::weights_server::Weights;
use weir_proto::control::v1::{
    GetWeightsRequest, ListWeightsRequest, ListWeightsResponse, SetWeightsRequest, WeightsRevision,
};

use super::{actor_of, status, wire};
use crate::clock::NowUnixMs;
use crate::governance::guard::allow;
use crate::governance::identity::Action;
use crate::sync::resources::ResourceSet;
use crate::weights::{WeightStore, warnings};

/// Shares of new work, service by service.
pub struct WeightsService {
    weights: WeightStore,
    registered: watch::Receiver<Arc<ResourceSet>>,
    now_unix_ms: NowUnixMs,
}

impl std::fmt::Debug for WeightsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WeightsService").finish_non_exhaustive()
    }
}

impl WeightsService {
    /// On these weights, the backends that are registered, and this clock.
    pub fn new(
        weights: WeightStore,
        registered: watch::Receiver<Arc<ResourceSet>>,
        now_unix_ms: NowUnixMs,
    ) -> Self {
        Self {
            weights,
            registered,
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
        let registered = Arc::clone(&self.registered.borrow());
        let registered = registered.iter().map(|(name, _)| &**name);
        let backends = request.set.keys().map(String::as_str);
        Ok(Response::new(WeightsRevision {
            warnings: warnings(&request.service, backends, registered),
            ..wire::weights(set)
        }))
    }
}

//! The part of `weir.node.v1.Cache` that is of values.

use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;

use super::cache::CacheService;
use super::status;
use crate::cache_api::ChangeStream;
use crate::cache_api::is_hop;

/// What an answer says to a caller.
type Answer<T> = Result<Response<T>, Status>;

impl CacheService {
    pub(super) async fn value(
        &self,
        request: Request<pb::GetValueRequest>,
    ) -> Answer<pb::CacheValue> {
        let is_hop = is_hop(request.metadata());
        let value = self.cache.value(request.into_inner(), is_hop).await;
        value
            .map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }

    pub(super) async fn load(
        &self,
        request: Request<pb::LoadValueRequest>,
    ) -> Answer<pb::LoadValueResponse> {
        let is_hop = is_hop(request.metadata());
        let loaded = self.cache.load_value(request.into_inner(), is_hop).await;
        loaded
            .map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }

    pub(super) async fn put_value(
        &self,
        request: Request<pb::PutValueRequest>,
    ) -> Answer<pb::PutValueResponse> {
        let is_hop = is_hop(request.metadata());
        let put = self.cache.put_value(request.into_inner(), is_hop).await;
        put.map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }

    pub(super) async fn touch_value(
        &self,
        request: Request<pb::TouchValueRequest>,
    ) -> Answer<pb::PutValueResponse> {
        let is_hop = is_hop(request.metadata());
        let touched = self.cache.touch_value(request.into_inner(), is_hop).await;
        touched
            .map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }

    pub(super) fn watch_values(
        &self,
        request: Request<pb::WatchValuesRequest>,
    ) -> Answer<ChangeStream> {
        let is_hop = is_hop(request.metadata());
        let changes = self.cache.watch_values(request.into_inner(), is_hop);
        changes
            .map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }
}

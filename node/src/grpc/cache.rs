//! `weir.node.v1.Cache`, and `weir.node.v1.CachePeer` for other nodes.

use tonic::{Request, Response, Status, Streaming};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::cache_peer_server::CachePeer;
use weir_proto::node::v1::cache_server::Cache;

use super::cache_warm::{self, Warmed};
use super::status;
use crate::actors::cache_tier::Told;
use crate::cache_api::{CacheApi, ChangeStream};

/// Both services.
#[derive(Clone)]
pub(super) struct CacheService {
    pub(super) cache: CacheApi,
}

#[tonic::async_trait]
impl Cache for CacheService {
    type WarmStream = Warmed;

    async fn warm(&self, request: Request<pb::WarmRequest>) -> Result<Response<Warmed>, Status> {
        cache_warm::warm(&self.cache, request.into_inner()).await
    }

    async fn purge(
        &self,
        request: Request<pb::PurgeRequest>,
    ) -> Result<Response<pb::PurgeResponse>, Status> {
        let purged = self.cache.purge(request.into_inner()).await;
        purged
            .map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }

    async fn get_cache(
        &self,
        _: Request<pb::GetCacheRequest>,
    ) -> Result<Response<pb::CacheStats>, Status> {
        Ok(Response::new(self.cache.stats()))
    }

    async fn get_entry(
        &self,
        request: Request<pb::CachedRequest>,
    ) -> Result<Response<pb::CachedAnswer>, Status> {
        let entry = self.cache.entry(request.get_ref());
        entry
            .map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }

    async fn explain(
        &self,
        request: Request<pb::CachedRequest>,
    ) -> Result<Response<pb::CacheExplanation>, Status> {
        let explained = self.cache.explain(request.get_ref());
        explained
            .map(Response::new)
            .map_err(|error| status::of_cache(&error))
    }

    async fn get(
        &self,
        request: Request<pb::GetValueRequest>,
    ) -> Result<Response<pb::CacheValue>, Status> {
        self.value(request).await
    }

    async fn get_or_load(
        &self,
        request: Request<pb::LoadValueRequest>,
    ) -> Result<Response<pb::LoadValueResponse>, Status> {
        self.load(request).await
    }

    async fn put(
        &self,
        request: Request<pb::PutValueRequest>,
    ) -> Result<Response<pb::PutValueResponse>, Status> {
        self.put_value(request).await
    }

    async fn touch(
        &self,
        request: Request<pb::TouchValueRequest>,
    ) -> Result<Response<pb::PutValueResponse>, Status> {
        self.touch_value(request).await
    }

    type WatchStream = ChangeStream;

    async fn watch(
        &self,
        request: Request<pb::WatchValuesRequest>,
    ) -> Result<Response<ChangeStream>, Status> {
        self.watch_values(request)
    }
}

#[tonic::async_trait]
impl CachePeer for CacheService {
    type PurgesStream = Told;

    async fn purges(
        &self,
        request: Request<Streaming<pb::PurgesSeen>>,
    ) -> Result<Response<Told>, Status> {
        Ok(Response::new(self.cache.tier().tell(request.into_inner())))
    }
}

//! `weir.node.v1.Cache/Warm`.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Response, Status};
use weir_proto::node::v1 as pb;

use super::status;
use crate::cache_api::{CacheApi, warm_result};

/// Results as they come.
pub(super) type Warmed = Pin<Box<dyn Stream<Item = Result<pb::WarmResult, Status>> + Send>>;

pub(super) async fn warm(
    cache: &CacheApi,
    request: pb::WarmRequest,
) -> Result<Response<Warmed>, Status> {
    let (total, done) = cache
        .warm(request)
        .await
        .map_err(|error| status::of_cache(&error))?;
    let results = ReceiverStream::new(done).map(move |done| Ok(warm_result(done, total)));
    Ok(Response::new(Box::pin(results)))
}

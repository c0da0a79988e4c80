//! `weir.node.v1.Overview`: nodes at a glance.

use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::overview_server::Overview;

use crate::overview::{Error, OverviewApi};

/// The service.
pub(super) struct OverviewService {
    pub(super) overview: OverviewApi,
}

#[tonic::async_trait]
impl Overview for OverviewService {
    async fn get_overview(
        &self,
        request: Request<pb::OverviewRequest>,
    ) -> Result<Response<pb::OverviewAnswer>, Status> {
        let answer = self.overview.answer(request.get_ref()).await;
        answer.map(Response::new).map_err(|error| {
            let message = error.to_string();
            match error {
                Error::NodeAndMesh(_) | Error::SamplesMax(_) => Status::invalid_argument(message),
                Error::UnknownNode(_) => Status::not_found(message),
                Error::Away { .. } => Status::unavailable(message),
            }
        })
    }
}

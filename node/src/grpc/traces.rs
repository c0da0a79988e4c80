//! `weir.node.v1.Traces`: what was traced last.

use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::traces_server::Traces;

use crate::trace_api::{Error, TraceApi};

/// The service.
pub(super) struct TracesService {
    pub(super) traces: TraceApi,
}

#[tonic::async_trait]
impl Traces for TracesService {
    async fn get_trace(
        &self,
        request: Request<pb::GetTraceRequest>,
    ) -> Result<Response<pb::Trace>, Status> {
        let trace = self.traces.get(request.get_ref()).await;
        trace.map(Response::new).map_err(|error| {
            let message = error.to_string();
            match error {
                Error::NoId => Status::invalid_argument(message),
                Error::NotKept | Error::Unknown { .. } => Status::not_found(message),
            }
        })
    }
}

//! `weir.node.v1.Logs`: what nodes write about themselves.

use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use weir_core::logs::Query;
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::logs_server::Logs as Service;

use crate::logs_api::LogsApi;

/// The service.
pub(super) struct LogsService {
    pub(super) logs: LogsApi,
}

type LogLists = Pin<Box<dyn Stream<Item = Result<pb::LogList, Status>> + Send>>;

impl LogsService {
    fn asked(&self, request: &pb::LogsRequest) -> Result<Query, Status> {
        let query = self.logs.query(request);
        query.map_err(|bad| Status::invalid_argument(bad.to_string()))
    }
}

#[tonic::async_trait]
impl Service for LogsService {
    async fn list_logs(
        &self,
        request: Request<pb::LogsRequest>,
    ) -> Result<Response<pb::LogList>, Status> {
        let request = request.get_ref();
        let query = self.asked(request)?;
        Ok(Response::new(self.logs.list(&query, request.mesh).await))
    }

    type WatchLogsStream = LogLists;

    async fn watch_logs(
        &self,
        request: Request<pb::LogsRequest>,
    ) -> Result<Response<LogLists>, Status> {
        let request = request.get_ref();
        let query = self.asked(request)?;
        let lists = self.logs.watch(query, request.mesh);
        Ok(Response::new(Box::pin(lists.map(Ok))))
    }
}

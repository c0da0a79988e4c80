//! `weir.node.v1.Broadcast`: messages to many.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;

use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::broadcast_server::Broadcast as Service;

use super::status;
use crate::broadcast::rights::Face;
use crate::broadcast::{Broadcast, Coming, Deliveries, ask, describe};

/// Connections of one answer, when the caller does not say.
const CONNECTIONS_SHOWN: usize = 100;
const CONNECTIONS_SHOWN_MAX: usize = 10_000;

/// The service. Cheap to clone.
#[derive(Clone)]
pub(super) struct BroadcastService {
    pub(super) broadcast: Broadcast,
}

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl BroadcastService {
    async fn published(
        &self,
        request: pb::PublishRequest,
        from: IpAddr,
    ) -> Result<pb::PublishResponse, Status> {
        let may = self.broadcast.may_publish_now(None, from);
        may.map_err(|refused| status::of_refused_message(&refused))?;
        let asked = ask::from_publish_request(request);
        let (draft, ack) = asked.map_err(|bad| Status::invalid_argument(bad.to_string()))?;
        let receipt = self.broadcast.deliver(draft, ack).await;
        receipt
            .map(|receipt| describe::published(receipt.published, receipt.is_replicated))
            .map_err(|error| status::of_publish(&error))
    }
}

#[tonic::async_trait]
impl Service for BroadcastService {
    async fn publish(&self, request: Request<pb::PublishRequest>) -> Answer<pb::PublishResponse> {
        let from = from(&request);
        self.published(request.into_inner(), from)
            .await
            .map(Response::new)
    }

    type PublishManyStream = Answers<pb::PublishResponse>;

    async fn publish_many(
        &self,
        request: Request<Streaming<pb::PublishRequest>>,
    ) -> Answer<Self::PublishManyStream> {
        let (service, from) = (self.clone(), from(&request));
        let answers = request.into_inner().then(move |request| {
            let service = service.clone();
            async move { service.published(request?, from).await }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    type SubscribeStream = Deliveries;

    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Answer<Self::SubscribeStream> {
        let coming = coming(&request);
        let pb::SubscribeRequest { topics, patterns } = request.into_inner();
        let first = pb::SessionRequest {
            subscribe: topics,
            subscribe_patterns: patterns,
            ..pb::SessionRequest::default()
        };
        let asks = futures::stream::iter([Ok(first)]);
        let deliveries = self.broadcast.session(coming, asks, true).await?;
        Ok(Response::new(deliveries))
    }

    type SessionStream = Deliveries;

    async fn session(
        &self,
        request: Request<Streaming<pb::SessionRequest>>,
    ) -> Answer<Self::SessionStream> {
        let coming = coming(&request);
        let asks = request.into_inner();
        let deliveries = self.broadcast.session(coming, asks, false).await?;
        Ok(Response::new(deliveries))
    }

    async fn history(&self, request: Request<pb::HistoryRequest>) -> Answer<pb::HistoryResponse> {
        let history = self.broadcast.history(request.get_ref());
        history
            .map(Response::new)
            .map_err(|refused| status::of_refused_message(&refused))
    }

    async fn presence(
        &self,
        request: Request<pb::PresenceRequest>,
    ) -> Answer<pb::PresenceResponse> {
        let present = self.broadcast.presence(request.get_ref()).await;
        present
            .map(Response::new)
            .map_err(|refused| status::of_refused_message(&refused))
    }

    async fn list_connections(
        &self,
        request: Request<pb::ListConnectionsRequest>,
    ) -> Answer<pb::ListConnectionsResponse> {
        let most = match request.get_ref().limit {
            0 => CONNECTIONS_SHOWN,
            limit => CONNECTIONS_SHOWN_MAX.min(limit as usize),
        };
        let connections = self.broadcast.connections(most).await;
        Ok(Response::new(pb::ListConnectionsResponse {
            connections: connections.iter().map(describe::connection).collect(),
        }))
    }

    async fn disconnect(
        &self,
        request: Request<pb::DisconnectRequest>,
    ) -> Answer<pb::DisconnectResponse> {
        let id = request.get_ref().id;
        match self.broadcast.disconnect(id).await {
            true => Ok(Response::new(pb::DisconnectResponse {})),
            false => Err(Status::not_found(format!("no connection has the id {id}"))),
        }
    }

    async fn topic_stats(
        &self,
        request: Request<pb::TopicStatsRequest>,
    ) -> Answer<pb::TopicStatsResponse> {
        let stats = self.broadcast.stats(request.get_ref());
        stats
            .map(Response::new)
            .map_err(|refused| status::of_refused_message(&refused))
    }
}

/// Where a caller is; unspecified when the connection does not tell.
fn from<T>(request: &Request<T>) -> IpAddr {
    let from = request.remote_addr().map(|address| address.ip());
    from.unwrap_or(Ipv4Addr::UNSPECIFIED.into())
}

/// Who calls, as far as the request tells.
fn coming<T>(request: &Request<T>) -> Coming {
    let bearer = request.metadata().get("authorization");
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let unknown = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Coming {
        face: Face::Api,
        peer: request.remote_addr().unwrap_or(unknown),
        query: String::new(),
        bearer: bearer.map(str::to_owned),
        last_event_id: None,
        only_looks: false,
    }
}

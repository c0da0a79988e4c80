//! Weights, nodes, tokens, the audit and the control plane itself.

use std::pin::Pin;

use futures::Stream;
use tonic::{Request, Response, Status};
use weir_proto::control::v1 as pb;

use super::{Fake, WRITTEN_UNIX_MS};

/// Items of one page: few, so that every list has more.
const PAGE: usize = 2;

/// A page of a list, and the token of the next one.
fn page<T>(mut items: Vec<T>, token: &str) -> (Vec<T>, String) {
    let begin = token.parse().unwrap_or(0);
    let mut page = items.split_off(begin);
    let is_last = page.len() <= PAGE;
    page.truncate(PAGE);
    let next = if is_last {
        String::new()
    } else {
        (begin + PAGE).to_string()
    };
    (page, next)
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl pb::weights_server::Weights for Fake {
    async fn get_weights(
        &self,
        request: Request<pb::GetWeightsRequest>,
    ) -> Answer<pb::WeightsRevision> {
        let state = self.allow(&request, false).await?;
        let service = request.into_inner().service;
        let none = pb::WeightsRevision {
            service: service.clone(),
            ..pb::WeightsRevision::default()
        };
        Ok(Response::new(
            state.weights.get(&service).cloned().unwrap_or(none),
        ))
    }

    async fn list_weights(
        &self,
        request: Request<pb::ListWeightsRequest>,
    ) -> Answer<pb::ListWeightsResponse> {
        let state = self.allow(&request, false).await?;
        Ok(Response::new(pb::ListWeightsResponse {
            weights: state.weights.values().cloned().collect(),
        }))
    }

    async fn set_weights(
        &self,
        request: Request<pb::SetWeightsRequest>,
    ) -> Answer<pb::WeightsRevision> {
        let mut state = self.allow(&request, true).await?;
        let set = request.into_inner();
        let mut weights = state.weights.get(&set.service).cloned().unwrap_or_default();
        if set
            .expected_revision
            .is_some_and(|seen| seen != weights.revision)
        {
            return Err(Status::aborted(format!(
                "the weights of {} are at revision {}, which {} wrote",
                set.service, weights.revision, weights.author
            )));
        }
        weights.weights.extend(set.set);
        weights
            .weights
            .retain(|backend, _| !set.unset.contains(backend));
        weights.service.clone_from(&set.service);
        weights.revision += 1;
        weights.author = set.author;
        weights.message = set.message;
        weights.written_at_unix_ms = WRITTEN_UNIX_MS;
        state.weights.insert(set.service, weights.clone());
        Ok(Response::new(weights))
    }
}

#[tonic::async_trait]
impl pb::nodes_server::Nodes for Fake {
    type WatchNodesStream =
        Pin<Box<dyn Stream<Item = Result<pb::ListNodesResponse, Status>> + Send>>;

    async fn list_nodes(
        &self,
        request: Request<pb::ListNodesRequest>,
    ) -> Answer<pb::ListNodesResponse> {
        let state = self.allow(&request, false).await?;
        let pb::ListNodesRequest {
            rejected,
            page_token,
            ..
        } = request.into_inner();
        let refused = |node: &pb::NodeInfo| {
            node.profile
                .as_ref()
                .is_some_and(|p| p.last_attempt() == pb::ApplyStatus::Rejected)
        };
        let nodes = state.nodes.iter().filter(|node| !rejected || refused(node));
        let (nodes, next_page_token) = page(nodes.cloned().collect(), &page_token);
        Ok(Response::new(pb::ListNodesResponse {
            nodes,
            next_page_token,
        }))
    }

    async fn get_node(&self, request: Request<pb::GetNodeRequest>) -> Answer<pb::NodeInfo> {
        let state = self.allow(&request, false).await?;
        let id = request.into_inner().node_id;
        let node = state.nodes.iter().find(|node| node.node_id == id);
        let node = node.ok_or_else(|| Status::not_found(format!("no node `{id}`")))?;
        Ok(Response::new(node.clone()))
    }

    async fn watch_nodes(
        &self,
        request: Request<pb::WatchNodesRequest>,
    ) -> Answer<Self::WatchNodesStream> {
        let state = self.allow(&request, false).await?;
        let list = pb::ListNodesResponse {
            nodes: state.nodes.clone(),
            next_page_token: String::new(),
        };
        // Breaks after one message, as a stream to an instance that leaves.
        let gone = Status::unavailable("this instance leaves");
        let messages = futures::stream::iter([Ok(list), Err(gone)]);
        Ok(Response::new(Box::pin(messages)))
    }

    async fn order(&self, request: Request<pb::OrderRequest>) -> Answer<pb::NodeInfo> {
        let mut state = self.allow(&request, true).await?;
        let order = request.into_inner();
        let node = state
            .nodes
            .iter_mut()
            .find(|node| node.node_id == order.node_id);
        let node = node.ok_or_else(|| Status::not_found(format!("no node `{}`", order.node_id)))?;
        let orders = node.orders.get_or_insert_default();
        orders.cordoned = order.cordoned.unwrap_or(orders.cordoned);
        orders.draining = order.draining.unwrap_or(orders.draining);
        Ok(Response::new(node.clone()))
    }

    async fn forget(&self, request: Request<pb::ForgetRequest>) -> Answer<pb::ForgetResponse> {
        let mut state = self.allow(&request, true).await?;
        let id = request.into_inner().node_id;
        let before = state.nodes.len();
        state.nodes.retain(|node| node.node_id != id);
        match state.nodes.len() < before {
            true => Ok(Response::new(pb::ForgetResponse {})),
            false => Err(Status::not_found(format!("no node `{id}`"))),
        }
    }
}

#[tonic::async_trait]
impl pb::registry_server::Registry for Fake {
    async fn register(&self, _: Request<pb::RegisterRequest>) -> Answer<pb::RegisterResponse> {
        Err(Status::unimplemented("no command registers"))
    }

    async fn heartbeat(&self, _: Request<pb::HeartbeatRequest>) -> Answer<pb::HeartbeatResponse> {
        Err(Status::unimplemented("no command registers"))
    }

    async fn deregister(
        &self,
        _: Request<pb::DeregisterRequest>,
    ) -> Answer<pb::DeregisterResponse> {
        Err(Status::unimplemented("no command registers"))
    }

    async fn list_endpoints(
        &self,
        request: Request<pb::ListEndpointsRequest>,
    ) -> Answer<pb::ListEndpointsResponse> {
        let state = self.allow(&request, false).await?;
        let asked = request.into_inner();
        let is_asked = |e: &&pb::Endpoint| asked.service.is_empty() || e.service == asked.service;
        let endpoints = state.endpoints.iter().filter(is_asked).cloned().collect();
        let (endpoints, next_page_token) = page(endpoints, &asked.page_token);
        Ok(Response::new(pb::ListEndpointsResponse {
            endpoints,
            next_page_token,
        }))
    }

    async fn remove_endpoint(
        &self,
        request: Request<pb::RemoveEndpointRequest>,
    ) -> Answer<pb::RemoveEndpointResponse> {
        let mut state = self.allow(&request, true).await?;
        let asked = request.into_inner();
        let before = state.endpoints.len();
        let stays =
            |e: &pb::Endpoint| (&e.service, &e.backend_id) != (&asked.service, &asked.backend_id);
        state.endpoints.retain(stays);
        match state.endpoints.len() < before {
            true => Ok(Response::new(pb::RemoveEndpointResponse {})),
            false => Err(Status::not_found("no such backend")),
        }
    }
}

#[tonic::async_trait]
impl pb::tokens_server::Tokens for Fake {
    async fn create_token(
        &self,
        request: Request<pb::CreateTokenRequest>,
    ) -> Answer<pb::CreateTokenResponse> {
        let mut state = self.allow(&request, true).await?;
        let create = request.into_inner();
        state.tokens.push(pb::TokenInfo {
            name: create.name,
            role: create.role,
            subject: create.subject,
            author: create.author,
            created_at_unix_ms: WRITTEN_UNIX_MS,
            expires_at_unix_ms: match create.ttl_ms {
                0 => 0,
                ttl_ms => WRITTEN_UNIX_MS + ttl_ms,
            },
        });
        match std::mem::take(&mut state.lose_answer) {
            true => Err(Status::unavailable("the answer is lost")),
            false => Ok(Response::new(pb::CreateTokenResponse {
                token: "weir_secret".to_owned(),
            })),
        }
    }

    async fn list_tokens(
        &self,
        request: Request<pb::ListTokensRequest>,
    ) -> Answer<pb::ListTokensResponse> {
        let state = self.allow(&request, false).await?;
        Ok(Response::new(pb::ListTokensResponse {
            tokens: state.tokens.clone(),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<pb::RevokeTokenRequest>,
    ) -> Answer<pb::RevokeTokenResponse> {
        let mut state = self.allow(&request, true).await?;
        let name = request.into_inner().name;
        state.tokens.retain(|token| token.name != name);
        Ok(Response::new(pb::RevokeTokenResponse {}))
    }
}

#[tonic::async_trait]
impl pb::audit_server::Audit for Fake {
    async fn list_audit(
        &self,
        request: Request<pb::ListAuditRequest>,
    ) -> Answer<pb::ListAuditResponse> {
        let _state = self.allow(&request, false).await?;
        Ok(Response::new(pb::ListAuditResponse {
            records: vec![pb::AuditRecord {
                at_unix_ms: WRITTEN_UNIX_MS,
                author: "alice".to_owned(),
                role: "operator".to_owned(),
                action: "profile.put".to_owned(),
                target: "fleet".to_owned(),
                message: "faster".to_owned(),
                write_id: "1".to_owned(),
                detail: "revision 2".to_owned(),
            }],
        }))
    }
}

#[tonic::async_trait]
impl pb::control_plane_server::ControlPlane for Fake {
    async fn get_control_plane(
        &self,
        request: Request<pb::GetControlPlaneRequest>,
    ) -> Answer<pb::ControlPlaneStatus> {
        let state = self.allow(&request, false).await?;
        Ok(Response::new(pb::ControlPlaneStatus {
            instance: "cp-1".to_owned(),
            version: "0.1.0".to_owned(),
            epoch: "e1".to_owned(),
            store_healthy: state.store_problem.is_none(),
            store_problems: state.store_problem.iter().cloned().collect(),
            store_revision: 12,
            store_disk_bytes: 4096,
            leader: "cp-1".to_owned(),
            leader_term: 3,
            streams: state.nodes.len().try_into().unwrap(),
            instances: vec!["cp-1".to_owned(), "cp-2".to_owned()],
        }))
    }
    async fn get_trace(
        &self,
        _: Request<weir_proto::node::v1::GetTraceRequest>,
    ) -> Answer<weir_proto::node::v1::Trace> {
        Err(Status::not_found("nothing is kept"))
    }

    async fn tell_command(
        &self,
        request: Request<pb::TellCommandRequest>,
    ) -> Answer<pb::TellCommandResponse> {
        drop(self.allow(&request, true).await?);
        Ok(Response::new(pb::TellCommandResponse {}))
    }
}

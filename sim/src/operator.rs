//! An operator: calls nodes over gRPC, as `weir services` does, and watches them.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::load_balancer_client::LoadBalancerClient;

use crate::cluster::GRPC_PORT;
use crate::history::{Call, Change, Expected, Eye, Recorder, now};
use crate::net::channel;
use crate::plant::Plant;

/// How long a call may take.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);
/// The wait before a call or watch that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A planted call without a deadline of its own is given up after this time, so that a run ends.
const PATIENCE: Duration = Duration::from_secs(20);

/// An operator's way to one node.
#[derive(Clone)]
pub(crate) struct Operator {
    node: String,
    client: LoadBalancerClient<Channel>,
    plant: Option<Plant>,
    recorder: Recorder,
}

/// One thing to do to one backend.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Set its weight.
    Weigh(u32),
    /// Drain it.
    Drain,
    /// Take back the drain.
    Undrain,
}

impl Operator {
    /// A way to `node`.
    pub(crate) fn new(node: &str, plant: Option<Plant>, recorder: &Recorder) -> Self {
        Self {
            node: node.to_owned(),
            client: LoadBalancerClient::new(channel(node, GRPC_PORT)),
            plant,
            recorder: recorder.clone(),
        }
    }

    /// Whether this is the way to `node`.
    pub(crate) fn leads_to(&self, node: &str) -> bool {
        self.node == node
    }

    /// Lists the node's services; true when that worked.
    pub(crate) async fn list(&self) -> bool {
        let mut client = self.client.clone();
        let listed = self
            .call(
                "list",
                None,
                client.list_services(self.ask(pb::ListServicesRequest {})),
            )
            .await;
        let Some(list) = listed else { return false };
        self.recorder
            .saw(&self.node, Eye::List, list.revision, list.services);
        true
    }

    /// Changes one backend; true when the node acknowledged it.
    pub(crate) async fn change(&self, service: &str, backend: &str, action: Action) -> bool {
        let mut client = self.client.clone();
        let what = format!("{action:?} {backend}");
        let change = |to| {
            Some(Change {
                backend: backend.to_owned(),
                to,
            })
        };
        let (service, backend) = (service.to_owned(), backend.to_owned());
        let answer = match action {
            Action::Weigh(weight) => {
                let change = change(Expected::Weight(weight));
                let asked = pb::SetWeightRequest {
                    service,
                    backend,
                    weight,
                };
                self.call(&what, change, client.set_weight(self.ask(asked)))
                    .await
            }
            Action::Drain => {
                let change = change(Expected::OutByDrain);
                let asked = pb::DrainRequest {
                    service,
                    backend,
                    deadline_ms: None,
                };
                self.call(&what, change, client.drain(self.ask(asked)))
                    .await
            }
            Action::Undrain => {
                let change = change(Expected::NotDraining);
                let asked = pb::BackendRequest { service, backend };
                self.call(&what, change, client.undrain(self.ask(asked)))
                    .await
            }
        };
        answer.is_some()
    }

    /// Changes one backend, again and again until the node acknowledges it.
    pub(crate) async fn insist(&self, service: &str, backend: &str, action: Action) {
        while !self.change(service, backend, action).await {
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Watches the node for as long as the simulation runs; begins anew when the watch breaks.
    pub(crate) async fn watch(self) {
        let mut client = self.client.clone();
        loop {
            let asked = pb::WatchServicesRequest::default();
            match client.watch_services(asked).await {
                Ok(pictures) => self.follow(pictures.into_inner()).await,
                Err(status) => tracing::debug!(node = self.node, code = ?status.code(), "no watch"),
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn follow(&self, mut pictures: tonic::Streaming<pb::ListServicesResponse>) {
        loop {
            match pictures.message().await {
                Ok(Some(seen)) => {
                    self.recorder
                        .saw(&self.node, Eye::Watch, seen.revision, seen.services);
                }
                Ok(None) => return,
                Err(status) => {
                    tracing::debug!(node = self.node, code = ?status.code(), "watch broke");
                    return;
                }
            }
        }
    }

    fn ask<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if self.plant != Some(Plant::NoDeadline) {
            request.set_timeout(DEADLINE);
        }
        request
    }

    async fn call<T>(
        &self,
        what: &str,
        change: Option<Change>,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Option<T> {
        let began = now();
        let patience = match self.plant {
            Some(Plant::NoDeadline | Plant::DeadlineInMetadata) => PATIENCE,
            _ => DEADLINE,
        };
        let answer = match timeout(patience, answer).await {
            Ok(Ok(answer)) => Some(answer.into_inner()),
            Ok(Err(status)) => {
                let code = status.code();
                tracing::debug!(node = self.node, what, ?code, "call failed");
                None
            }
            Err(_) => None,
        };
        self.recorder.called(Call {
            node: self.node.clone(),
            what: what.to_owned(),
            began,
            ended: now(),
            deadline: DEADLINE,
            acknowledged: change.filter(|_| answer.is_some()),
            ok: answer.is_some(),
        });
        answer
    }
}

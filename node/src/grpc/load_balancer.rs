//! `weir.node.v1.LoadBalancer`: reads the routing snapshot, sends commands to the actor.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use tokio::time::Instant;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use weir_core::ids::{BackendId, ServiceName};
use weir_proto::node::v1 as pb;
use weir_proto::node::v1::load_balancer_server::LoadBalancer;

use super::status;
use crate::actors::load_balancer::{Change, Command, LoadBalancerHandle};
use crate::describe;
use crate::telemetry::spans::{Span, SpanKind, Started, Tracer};

/// Weights are shares, not counts.
const WEIGHT_MAX: u32 = 65_535;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct LoadBalancerService {
    load_balancer: LoadBalancerHandle,
    tracer: Tracer,
}

impl LoadBalancerService {
    /// Serves what `load_balancer` publishes and passes commands on to it.
    pub fn new(load_balancer: LoadBalancerHandle, tracer: Tracer) -> Self {
        Self {
            load_balancer,
            tracer,
        }
    }

    fn list(&self, only: &str) -> pb::ListServicesResponse {
        let routing = self.load_balancer.routing().load();
        let services = routing
            .services
            .iter()
            .filter(|service| only.is_empty() || service.settings.name.as_str() == only)
            .map(|service| describe::service(service))
            .collect();
        pb::ListServicesResponse {
            services,
            revision: routing.revision,
        }
    }

    fn service(&self, name: &str) -> Result<pb::Service, Status> {
        let routing = self.load_balancer.routing().load();
        let service = routing
            .service(&ServiceName::from(name))
            .ok_or_else(|| Status::not_found(format!("no service is called `{name}`")))?;
        Ok(describe::service(service))
    }

    /// Sends a command to the actor and answers with the service as it is then.
    async fn command<T>(
        &self,
        request: &Request<T>,
        method: &'static str,
        (service, backend): (&str, &str),
        change: Change,
    ) -> Result<Response<pb::Service>, Status> {
        let command = Command {
            service: ServiceName::from(service),
            backend: BackendId::from(backend),
            change,
        };
        let started = Instant::now();
        let span = self.begin_span(request);
        let context = span.map(|span| span.context);
        let result = self.load_balancer.command(command, context).await;
        if let Some(span) = span {
            self.end_span(span, method, started);
        }
        result
            .map_err(status::of_refused)?
            .map_err(|error| status::of_command(&error))?;
        Ok(Response::new(self.service(service)?))
    }

    fn begin_span<T>(&self, request: &Request<T>) -> Option<Started> {
        let mut rng = self.tracer.is_on().then(fastrand::Rng::new)?;
        self.tracer.sample(request.metadata().as_ref(), &mut rng)
    }

    fn end_span(&self, span: Started, name: &'static str, start: Instant) {
        self.tracer.record(vec![Span {
            context: span.context,
            parent: span.parent,
            name,
            kind: SpanKind::Server,
            start,
            end: Instant::now(),
            attributes: Vec::new(),
            error: None,
        }]);
    }
}

type ServiceLists = Pin<Box<dyn Stream<Item = Result<pb::ListServicesResponse, Status>> + Send>>;

#[tonic::async_trait]
impl LoadBalancer for LoadBalancerService {
    async fn list_services(
        &self,
        _: Request<pb::ListServicesRequest>,
    ) -> Result<Response<pb::ListServicesResponse>, Status> {
        Ok(Response::new(self.list("")))
    }

    async fn get_service(
        &self,
        request: Request<pb::GetServiceRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        Ok(Response::new(self.service(&request.get_ref().service)?))
    }

    type WatchServicesStream = ServiceLists;

    async fn watch_services(
        &self,
        request: Request<pb::WatchServicesRequest>,
    ) -> Result<Response<ServiceLists>, Status> {
        let only = request.into_inner().service;
        if !only.is_empty() {
            self.service(&only)?;
        }
        let service = self.clone();
        // A slow reader finds only the newest revision here: nothing queues up.
        let changes = WatchStream::new(self.load_balancer.revisions());
        Ok(Response::new(Box::pin(
            changes.map(move |_| Ok(service.list(&only))),
        )))
    }

    async fn set_weight(
        &self,
        request: Request<pb::SetWeightRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let asked = request.get_ref();
        if asked.weight > WEIGHT_MAX {
            return Err(Status::invalid_argument(format!(
                "weight: {} is out of bounds (0 to {WEIGHT_MAX})",
                asked.weight
            )));
        }
        let change = Change::Weight(asked.weight);
        self.command(
            &request,
            "SetWeight",
            (&asked.service, &asked.backend),
            change,
        )
        .await
    }

    async fn drain(
        &self,
        request: Request<pb::DrainRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let asked = request.get_ref();
        let change = Change::Drain(duration("deadline_ms", asked.deadline_ms)?);
        self.command(&request, "Drain", (&asked.service, &asked.backend), change)
            .await
    }

    async fn undrain(
        &self,
        request: Request<pb::BackendRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let asked = request.get_ref();
        self.command(
            &request,
            "Undrain",
            (&asked.service, &asked.backend),
            Change::Undrain,
        )
        .await
    }

    async fn eject(
        &self,
        request: Request<pb::EjectRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let asked = request.get_ref();
        let change = Change::Eject(duration("duration_ms", asked.duration_ms)?);
        self.command(&request, "Eject", (&asked.service, &asked.backend), change)
            .await
    }

    async fn restore(
        &self,
        request: Request<pb::BackendRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let asked = request.get_ref();
        self.command(
            &request,
            "Restore",
            (&asked.service, &asked.backend),
            Change::Restore,
        )
        .await
    }
}

/// A drain or ejection may last this long.
const DURATION_MS_MAX: u64 = 30 * 86_400_000;

fn duration(field: &str, ms: Option<u64>) -> Result<Option<Duration>, Status> {
    match ms {
        Some(ms) if ms > DURATION_MS_MAX => Err(Status::invalid_argument(format!(
            "{field}: {ms} is out of bounds (0 to {DURATION_MS_MAX})"
        ))),
        ms => Ok(ms.map(Duration::from_millis)),
    }
}

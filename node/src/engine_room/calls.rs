//! Calls of the control plane beside the stream: jobs and the registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint as Uri};
use tonic::{Code, Request, Status};
use weir_proto::control::v1 as pb;
use weir_proto::control::v1::registry_client::RegistryClient;

use crate::actors::provision_supervisor::{Registry, RegistryError};
use crate::control_link::Calls;
use crate::ports::net::Endpoint;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// For one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A channel to whichever instance answers; each connection tries the next one.
pub(crate) fn channel(calls: &Calls) -> Channel {
    let scheme = if calls.tls.is_some() { "https" } else { "http" };
    let first = calls
        .endpoints
        .first()
        .map_or("127.0.0.1:1", Endpoint::as_str);
    let uri =
        Uri::from_shared(format!("{scheme}://{first}")).expect("the configuration checked it");
    let mut uri = uri
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true);
    if let Some(tls) = &calls.tls {
        uri = uri
            .tls_config(tls.clone())
            .expect("the files were read before");
    }
    let (net, endpoints) = (Arc::clone(&calls.net), calls.endpoints.clone());
    let turn = Arc::new(AtomicUsize::new(0));
    let connector = tower::service_fn(move |_| {
        let at = turn.fetch_add(1, Ordering::Relaxed) % endpoints.len().max(1);
        let (net, to) = (Arc::clone(&net), endpoints.get(at).cloned());
        async move {
            let to = to.ok_or_else(|| std::io::Error::other("no control plane"))?;
            net.connect(&to).await.map(TokioIo::new)
        }
    });
    uri.connect_with_connector_lazy(connector)
}

/// The registry of a control plane.
pub(super) struct RemoteRegistry {
    channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
}

impl RemoteRegistry {
    pub(super) fn new(channel: Channel, bearer: Option<MetadataValue<Ascii>>) -> Self {
        Self { channel, bearer }
    }

    fn client(&self) -> RegistryClient<Channel> {
        RegistryClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request
                .metadata_mut()
                .insert("authorization", bearer.clone());
        }
        request
    }
}

async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, RegistryError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(status)) if status.code() == Code::NotFound => Err(RegistryError::Unknown),
        Ok(Err(status)) => Err(RegistryError::Other(status.message().to_owned())),
        Err(_) => Err(RegistryError::Other("no answer in time".to_owned())),
    }
}

impl Registry for RemoteRegistry {
    fn register(
        &self,
        endpoint: pb::Endpoint,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<String, RegistryError>> {
        Box::pin(async move {
            let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
            let request = self.request(pb::RegisterRequest {
                endpoint: Some(endpoint),
                ttl_ms,
            });
            let registered = within(async { self.client().register(request).await }).await?;
            Ok(registered.into_inner().registration_id)
        })
    }

    fn heartbeat(
        &self,
        service: String,
        backend: String,
        id: String,
    ) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(async move {
            let message = pb::HeartbeatRequest {
                service,
                backend_id: backend,
                registration_id: id,
            };
            let request = self.request(message);
            within(async { self.client().heartbeat(request).await })
                .await
                .map(drop)
        })
    }

    fn deregister(
        &self,
        service: String,
        backend: String,
        id: String,
    ) -> BoxFuture<'_, Result<(), RegistryError>> {
        Box::pin(async move {
            let message = pb::DeregisterRequest {
                service,
                backend_id: backend,
                registration_id: id,
            };
            let request = self.request(message);
            within(async { self.client().deregister(request).await })
                .await
                .map(drop)
        })
    }
}

//! A real server on loopback: tokens, audit, and an echo that says who calls.

use std::net::SocketAddr;
use std::pin::Pin;

use futures::Stream;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codegen::InterceptedService;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use weir_control_plane::governance::guard::{Access, Guard, allow};
use weir_control_plane::governance::identity::Action;
use weir_control_plane::governance::secret::Secret;
use weir_control_plane::governance::tls::Acceptor;
use weir_control_plane::grpc::{AuditService, TokensService};
use weir_proto::control::v1::audit_client::AuditClient;
use weir_proto::control::v1::audit_server::AuditServer;
use weir_proto::control::v1::tokens_client::TokensClient;
use weir_proto::control::v1::tokens_server::TokensServer;
use weir_proto::demo::v1::echo_client::EchoClient;
use weir_proto::demo::v1::echo_server::{Echo, EchoServer};
use weir_proto::demo::v1::{EchoRequest, EchoResponse};

use super::{Clock, Home, PATIENCE, keys};

const HANDSHAKES_MAX: usize = 16;

/// A server that ends with the test.
pub(crate) struct Serving {
    pub(crate) address: SocketAddr,
    pub(crate) guard: Guard,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves what is in `home`.
pub(crate) async fn serve(
    home: &Home,
    clock: &Clock,
    access: Access,
    tls: Option<Acceptor>,
) -> Serving {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let guard = Guard::new(access, home.table.clone(), "default", clock.now());
    let tokens = TokensService::new(home.tokens.clone(), clock.now());
    let audit = AuditService::new(home.store.clone(), keys(), clock.now());
    let echo = WhoAmI(guard.clone());
    let router = Server::builder()
        .add_service(TokensServer::with_interceptor(tokens, guard.clone()))
        .add_service(AuditServer::with_interceptor(audit, guard.clone()))
        .add_service(EchoServer::with_interceptor(echo, guard.clone()));
    let connections = TcpListenerStream::new(listener);
    let task = match tls {
        None => tokio::spawn(async move { router.serve_with_incoming(connections).await.unwrap() }),
        Some(tls) => tokio::spawn(async move {
            let secured = tls.secured(connections, HANDSHAKES_MAX);
            let served = router.serve_with_incoming(secured);
            tokio::select! {
                served = served => served.unwrap(),
                () = tls.clone().follow() => {}
            }
        }),
    };
    Serving {
        address,
        guard,
        task,
    }
}

/// Puts a token, or none, on every request.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<tonic::metadata::Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let metadata = request.metadata_mut();
            metadata.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// One connection with one token.
#[derive(Clone)]
pub(crate) struct Client(Channel, Bearer);

type Intercepted = InterceptedService<Channel, Bearer>;

impl Client {
    /// The same connection with another token.
    pub(crate) fn with(&self, token: &Secret) -> Self {
        let header = format!("Bearer {}", token.expose()).parse().unwrap();
        Self(self.0.clone(), Bearer(Some(header)))
    }

    pub(crate) fn tokens(&self) -> TokensClient<Intercepted> {
        TokensClient::with_interceptor(self.0.clone(), self.1.clone())
    }

    pub(crate) fn audit(&self) -> AuditClient<Intercepted> {
        AuditClient::with_interceptor(self.0.clone(), self.1.clone())
    }

    pub(crate) fn echo(&self) -> EchoClient<Intercepted> {
        EchoClient::with_interceptor(self.0.clone(), self.1.clone())
    }

    /// Who the server says this is.
    pub(crate) async fn who_am_i(&self) -> Result<String, Status> {
        let asked = self.echo().unary(EchoRequest::default()).await?;
        Ok(asked.into_inner().message)
    }

    /// A stream as this node that lasts as long as the identity.
    pub(crate) async fn sync_as(&self, node: &str) -> Result<Streaming<EchoResponse>, Status> {
        let request = EchoRequest {
            message: node.to_owned(),
            ..EchoRequest::default()
        };
        Ok(self.echo().server_stream(request).await?.into_inner())
    }
}

impl Serving {
    /// A client without TLS and without a token.
    pub(crate) fn client(&self) -> Client {
        let endpoint = Endpoint::try_from(format!("http://{}", self.address)).unwrap();
        Client(endpoint.timeout(PATIENCE).connect_lazy(), Bearer(None))
    }

    /// A client with TLS and without a token.
    pub(crate) fn tls_client(&self, tls: ClientTlsConfig) -> Client {
        let endpoint = Endpoint::try_from(format!("https://{}", self.address)).unwrap();
        let endpoint = endpoint.timeout(PATIENCE).tls_config(tls).unwrap();
        Client(endpoint.connect_lazy(), Bearer(None))
    }
}

struct WhoAmI(Guard);

type Answers = Pin<Box<dyn Stream<Item = Result<EchoResponse, Status>> + Send>>;

fn answer(message: String) -> EchoResponse {
    EchoResponse {
        message,
        ..EchoResponse::default()
    }
}

#[tonic::async_trait]
impl Echo for WhoAmI {
    type ServerStreamStream = Answers;
    type BidirectionalStreamStream = Answers;

    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let identity = allow(&request, &Action::ReadAll)?;
        assert!(request.metadata().get("authorization").is_none());
        let message = format!("{} {}", identity.role, identity.name);
        Ok(Response::new(answer(message)))
    }

    async fn server_stream(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<Answers>, Status> {
        let identity = allow(&request, &Action::SyncAs(&request.get_ref().message))?;
        let guard = self.0.clone();
        let end = async move { Err(guard.ended(&identity).await) };
        let begin = futures::stream::iter([Ok(answer("in sync".to_owned()))]);
        let stream = futures::StreamExt::chain(begin, futures::stream::once(end));
        Ok(Response::new(Box::pin(stream)))
    }

    async fn client_stream(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        Err(Status::unimplemented("not needed"))
    }

    async fn bidirectional_stream(
        &self,
        _: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<Answers>, Status> {
        Err(Status::unimplemented("not needed"))
    }
}

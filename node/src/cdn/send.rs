//! One request to the API of a CDN.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, RETRY_AFTER};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};
use weir_control_plane::governance::secret::SecretError;
use weir_core::surrogate::CdnRequest;

use crate::config::{ApiPlace, CdnSettings};
use crate::ports::net::{BoxedStream, Net};

/// From the connection to the last byte of the answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read, and of it that are told.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const TOLD_CHARS_MAX: usize = 200;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The token cannot be had.
    #[error("its token")]
    Token(#[from] SecretError),
    /// The certificates that it is trusted by cannot be read.
    #[error("{}", .0.display())]
    Trust(PathBuf, #[source] rustls_pki_types::pem::Error),
    /// No certificate is trusted.
    #[error("{} holds no certificate", .0.display())]
    NoTrust(PathBuf),
    /// The settings of TLS.
    #[error("TLS")]
    Tls(#[from] rustls::Error),
    /// A name that no certificate can have.
    #[error("its host")]
    Name(#[from] InvalidDnsNameError),
    /// It is not reached, or not trusted.
    #[error("connecting")]
    Connect(#[source] io::Error),
    /// It speaks no HTTP, or breaks off.
    #[error("asking")]
    Http(#[from] hyper::Error),
    /// The request cannot be written.
    #[error("the request")]
    Request(#[from] http::Error),
    /// It takes too long.
    #[error("no answer within {LIMIT:?}")]
    TooLate,
}

/// What a CDN answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// How long it wants to be left alone, in seconds.
    pub retry_after_s: Option<u64>,
    /// How its body begins.
    pub text: String,
}

/// Who asks CDNs.
#[derive(Clone, Debug)]
pub struct Sender {
    net: Arc<dyn Net>,
}

impl Sender {
    /// One that connects by `net`.
    pub fn new(net: Arc<dyn Net>) -> Self {
        Self { net }
    }

    /// Asks a CDN.
    ///
    /// # Errors
    /// [`SendError`]: nobody knows whether it has heard.
    pub async fn send(&self, to: &CdnSettings, request: &CdnRequest) -> Result<Answer, SendError> {
        let asked = timeout(LIMIT, self.ask(to, request));
        asked.await.unwrap_or(Err(SendError::TooLate))
    }

    async fn ask(&self, to: &CdnSettings, request: &CdnRequest) -> Result<Answer, SendError> {
        let request = written(to, request)?;
        let stream = self.connect(&to.api).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driven = tokio::spawn(connection);
        let answer = match sender.send_request(request).await {
            Ok(answer) => Ok(read(answer).await),
            Err(error) => Err(error.into()),
        };
        driven.abort();
        answer
    }

    async fn connect(&self, api: &ApiPlace) -> Result<BoxedStream, SendError> {
        let connector = match &api.ca_file {
            Some(path) => Some(connector(path.clone()).await?),
            None => None,
        };
        let stream = self
            .net
            .connect(&api.endpoint)
            .await
            .map_err(SendError::Connect)?;
        let Some(connector) = connector else {
            return Ok(stream);
        };
        let host = api
            .endpoint
            .as_str()
            .rsplit_once(':')
            .map_or("", |(host, _)| host);
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
        let tls = connector.connect(name, stream).await;
        Ok(Box::new(tls.map_err(SendError::Connect)?))
    }
}

fn written(to: &CdnSettings, request: &CdnRequest) -> Result<Request<Full<Bytes>>, SendError> {
    let mut builder = Request::builder()
        .method(request.method)
        .uri(format!("{}{}", to.api.base, request.path))
        .header(CONTENT_LENGTH, request.body.len());
    if !request.headers.iter().any(|(name, _)| *name == HOST) {
        builder = builder.header(HOST, &to.api.host);
    }
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    if let Some(token) = &to.token {
        let (name, value) = to.cdn.authentication(token.read()?.expose());
        builder = builder.header(name, value);
    }
    Ok(builder.body(Full::new(request.body.clone().into()))?)
}

async fn read(answer: Response<Incoming>) -> Answer {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned());
    let shown = text
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(TOLD_CHARS_MAX)
        .collect();
    Answer {
        status: head.status.as_u16(),
        retry_after_s: retry_after_s(&head.headers),
        text: shown,
    }
}

fn retry_after_s(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// Reads the certificates at each use, so that a changed file counts.
async fn connector(ca_file: PathBuf) -> Result<TlsConnector, SendError> {
    let reading = tokio::task::spawn_blocking(move || roots(ca_file));
    let roots = reading.await.map_err(|_| SendError::TooLate)??;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca_file: PathBuf) -> Result<RootCertStore, SendError> {
    let read = || -> Result<RootCertStore, rustls_pki_types::pem::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(&ca_file)? {
            // Some bundles hold certificates that are no anchors.
            let _ = roots.add(certificate?);
        }
        Ok(roots)
    };
    match read() {
        Ok(roots) if roots.is_empty() => Err(SendError::NoTrust(ca_file)),
        Ok(roots) => Ok(roots),
        Err(why) => Err(SendError::Trust(ca_file, why)),
    }
}

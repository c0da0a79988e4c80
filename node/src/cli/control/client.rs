//! Calls to the control plane, whichever of its instances answers.

use std::error::Error as _;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Code, Request, Response, Status, Streaming};
use weir_core::error::chain;
use weir_proto::control::v1::audit_client::AuditClient;
use weir_proto::control::v1::control_plane_client::ControlPlaneClient;
use weir_proto::control::v1::jobs_client::JobsClient;
use weir_proto::control::v1::nodes_client::NodesClient;
use weir_proto::control::v1::profiles_client::ProfilesClient;
use weir_proto::control::v1::registry_client::RegistryClient;
use weir_proto::control::v1::tokens_client::TokensClient;
use weir_proto::control::v1::weights_client::WeightsClient;

use super::{Target, read_secret};
use crate::cli::output::{Failure, is_no_grpc, is_stranger};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that carries a watch is pinged this often, and dead when a ping is unanswered for as long.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Between two tries to watch again.
const WATCH_AGAIN_AFTER: Duration = Duration::from_secs(1);
const ADDRESSES_MAX: usize = 16;
/// Thousands of nodes in one answer.
const ANSWER_BYTES_MAX: usize = 64 << 20;

type Signed = InterceptedService<Channel, Bearer>;

/// Whether a call may be made again when its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Repeat {
    /// Made twice, it is as if it was made once.
    Harmless,
    /// Made twice, it fails or does more.
    Harmful,
}

/// Adds the token to each call.
#[derive(Clone, Debug)]
pub(in crate::cli) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// A connection to one instance.
#[derive(Clone)]
pub(in crate::cli) struct Session(Signed);

/// One method a service.
macro_rules! services {
    ($($method:ident: $client:ident;)+) => {
        impl Session {
            $(
                pub(in crate::cli) fn $method(&self) -> $client<Signed> {
                    $client::new(self.0.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
                }
            )+
        }
    };
}

services! {
    profiles: ProfilesClient;
    weights: WeightsClient;
    nodes: NodesClient;
    jobs: JobsClient;
    tokens: TokensClient;
    audit: AuditClient;
    control_plane: ControlPlaneClient;
    registry: RegistryClient;
}

/// The control plane: its instances are tried in turn, beginning with the one that answered last.
pub(in crate::cli) struct ControlPlane {
    instances: Vec<(String, Endpoint)>,
    shows_certificate: bool,
    bearer: Bearer,
    at: usize,
    session: Option<Session>,
    rng: fastrand::Rng,
}

impl ControlPlane {
    /// Checks what the arguments say; connects to nobody yet.
    pub(in crate::cli) fn new(target: &Target) -> Result<Self, Failure> {
        let addresses = &target.control_plane;
        if !(1..=ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(Failure::Usage(format!(
                "--control-plane: {} addresses; allowed: 1 to {ADDRESSES_MAX}",
                addresses.len()
            )));
        }
        let tls = tls(target)?;
        let instances: Result<Vec<_>, Failure> = addresses
            .iter()
            .map(|address| Ok((address.clone(), endpoint(address, tls.as_ref())?)))
            .collect();
        Ok(Self {
            instances: instances?,
            shows_certificate: target.cert.is_some(),
            bearer: Bearer(token(target)?),
            at: 0,
            session: None,
            rng: fastrand::Rng::new(),
        })
    }

    /// A name that no other write has.
    pub(in crate::cli) fn write_id(&mut self) -> String {
        format!("{:032x}", self.rng.u128(..))
    }

    /// Calls the first instance that answers. One that is away, or too slow, is passed over.
    pub(in crate::cli) async fn call<T>(
        &mut self,
        repeat: Repeat,
        call: impl AsyncFn(Session) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let (mut passed_over, mut told) = (Vec::new(), Vec::new());
        for _ in 0..self.instances.len() {
            let address = self.instances[self.at].0.clone();
            let why = match self.connected().await {
                Err(why) => why,
                Ok(session) => match timeout(CALL_TIMEOUT, call(session)).await {
                    Ok(Ok(answer)) => return Ok(answer.into_inner()),
                    Ok(Err(status)) if !is_away(&status) => return Err(refusal(status, &address)),
                    _ if repeat == Repeat::Harmful => return Err(unknown_outcome(&address)),
                    Ok(Err(status)) if status.source().is_none() => {
                        told.push(status.message().to_owned());
                        status.message().to_owned()
                    }
                    Ok(Err(status)) => self.explained(&status),
                    Err(_) => format!("no answer within {CALL_TIMEOUT:?}"),
                },
            };
            passed_over.push(format!("{address}: {why}"));
            self.session = None;
            self.at = (self.at + 1) % self.instances.len();
        }
        Err(match told.as_slice() {
            [] => nobody(&passed_over),
            [only] if passed_over.len() == 1 => cannot(only),
            _ => cannot(&passed_over.join("; ")),
        })
    }

    /// What an error of a connection means to who called.
    fn explained(&self, error: &(dyn std::error::Error + 'static)) -> String {
        let is_tls = self.instances[self.at].1.uri().scheme_str() == Some("https");
        explained(error, is_tls, self.shows_certificate)
    }

    /// A call that changes nothing, or is made once however often it is sent.
    pub(in crate::cli) async fn ask<T>(
        &mut self,
        call: impl AsyncFn(Session) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        self.call(Repeat::Harmless, call).await
    }

    /// Hands every message of a stream to `each`; a stream that breaks is opened again, by whoever answers.
    pub(in crate::cli) async fn watch<T>(
        &mut self,
        open: impl AsyncFn(Session) -> Result<Response<Streaming<T>>, Status>,
        mut each: impl FnMut(T) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        loop {
            let mut messages = self.ask(&open).await?;
            loop {
                match messages.message().await {
                    Ok(Some(message)) => each(message)?,
                    Ok(None) => break,
                    Err(status) if is_away(&status) => break,
                    Err(status) => return Err(status.into()),
                }
            }
            self.session = None;
            sleep(WATCH_AGAIN_AFTER).await;
        }
    }

    async fn connected(&mut self) -> Result<Session, String> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let channel = match self.instances[self.at].1.connect().await {
            Ok(channel) => channel,
            Err(error) => return Err(self.explained(&error)),
        };
        let session = Session(InterceptedService::new(channel, self.bearer.clone()));
        Ok(self.session.insert(session).clone())
    }
}

/// Whether another instance may do better: this one says that it cannot now, or its connection broke.
fn is_away(status: &Status) -> bool {
    status.code() == Code::Unavailable || status.source().is_some()
}

/// What the instance says, or what it seems to be when it is none.
fn refusal(status: Status, address: &str) -> Failure {
    let told = status.message();
    if is_no_grpc(&status) {
        return Failure::Other(format!(
            "what answers at {address} speaks no gRPC; the control plane's address is wanted (port 7500)"
        ));
    }
    if is_stranger(&status) {
        return Failure::Other(format!(
            "what answers at {address} is no control plane, or one of another version; its address is wanted (port \
             7500, not a node's 7400)"
        ));
    }
    if status.code() == Code::Unauthenticated {
        let hint = format!("{told} (--token-file or WEIR_TOKEN)");
        return Failure::Refused(Status::unauthenticated(hint));
    }
    Failure::Refused(status)
}

/// An instance answered, and says that it cannot now.
fn cannot(told: &str) -> Failure {
    Failure::Other(format!("the control plane cannot do it now: {told}"))
}

fn unknown_outcome(address: &str) -> Failure {
    Failure::Away(format!(
        "{address} went away before it answered; look whether it was done before you try again"
    ))
}

fn nobody(passed_over: &[String]) -> Failure {
    Failure::Away(format!(
        "no control plane answers ({}); is it running? (--control-plane ADDRESS or WEIR_CONTROL_PLANE \
         says where)",
        passed_over.join("; ")
    ))
}

/// The cause of all causes, such as `Connection refused`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// The cause, or what to do about it where that is known.
fn explained(error: &dyn std::error::Error, is_tls: bool, shows_certificate: bool) -> String {
    let all = chain(error);
    let has = |words: &[&str]| words.iter().any(|word| all.contains(word));
    if has(&["UnknownIssuer", "BadSignature"]) {
        return "its certificate is not signed by --ca".to_owned();
    }
    if has(&["CertificateRequired"]) {
        return "it asks for a certificate, give --cert and --key".to_owned();
    }
    // Who refuses a handshake may close before its alert is read.
    let broke_off = has(&["roken pipe", "onnection reset", "onnection closed"]);
    if broke_off && is_tls && !shows_certificate {
        return "it broke off; if it asks for a certificate, give --cert and --key".to_owned();
    }
    if broke_off && !is_tls {
        return "it broke off; if it speaks TLS, give --ca".to_owned();
    }
    if is_tls && has(&["InvalidContentType"]) {
        return "it does not speak TLS; leave out --ca".to_owned();
    }
    if !is_tls && has(&["http2 error", "frame with invalid size", "invalid frame"]) {
        return "it does not speak plain HTTP/2; if it speaks TLS, give --ca".to_owned();
    }
    if has(&["certificate", "Certificate"]) {
        return all;
    }
    innermost(error)
}

fn endpoint(address: &str, tls: Option<&ClientTlsConfig>) -> Result<Endpoint, Failure> {
    let refuse = |why: &str| Failure::Usage(format!("--control-plane: `{address}` {why}"));
    let url = match (address.split_once("://"), tls) {
        (None, None) => format!("http://{address}"),
        (None, Some(_)) => format!("https://{address}"),
        (Some(("http", _)), None) | (Some(("https", _)), Some(_)) => address.to_owned(),
        (Some(("http", _)), Some(_)) => return Err(refuse("is http://, but --ca asks for TLS")),
        (Some(("https", _)), None) => return Err(refuse("is https://, which needs --ca")),
        _ => return Err(refuse("is no address; expected HOST:PORT")),
    };
    let endpoint =
        Endpoint::from_shared(url).map_err(|_| refuse("is no address; expected HOST:PORT"))?;
    if endpoint.uri().port().is_none() {
        return Err(refuse("has no port; expected HOST:PORT"));
    }
    let endpoint = endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY)
        .keep_alive_while_idle(true);
    match tls {
        None => Ok(endpoint),
        Some(tls) => endpoint.tls_config(tls.clone()).map_err(|error| {
            Failure::Usage(format!("--ca, --cert or --key: {}", innermost(&error)))
        }),
    }
}

fn tls(target: &Target) -> Result<Option<ClientTlsConfig>, Failure> {
    let Some(ca) = &target.ca else {
        return match &target.cert {
            None => Ok(None),
            Some(_) => Err(Failure::Usage("--cert: needs --ca".to_owned())),
        };
    };
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read_secret("--ca", ca)?));
    if let (Some(cert), Some(key)) = (&target.cert, &target.key) {
        let (cert, key) = (read_secret("--cert", cert)?, read_secret("--key", key)?);
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    Ok(Some(tls))
}

fn token(target: &Target) -> Result<Option<MetadataValue<Ascii>>, Failure> {
    let (flag, token) = match (&target.token_file, &target.token) {
        (Some(path), _) => ("--token-file", read_secret("--token-file", path)?),
        (None, Some(token)) if !token.trim().is_empty() => ("--token", token.clone()),
        (None, _) => return Ok(None),
    };
    let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim())
        .parse()
        .map_err(|_| Failure::Usage(format!("{flag}: is no token")))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::control::Output;

    fn target(addresses: &[&str]) -> Target {
        Target {
            control_plane: addresses.iter().map(|a| (*a).to_owned()).collect(),
            token: None,
            token_file: None,
            ca: None,
            cert: None,
            key: None,
            output: Output::Text,
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in [
            "127.0.0.1:7500",
            "[::1]:7500",
            "cp.example:7500",
            "http://cp:1",
        ] {
            assert!(ControlPlane::new(&target(&[good])).is_ok(), "{good}");
        }
        for bad in ["", "cp", "http://cp", "ftp://cp:1", "cp:x", "https://cp:1"] {
            let refused = ControlPlane::new(&target(&[bad]))
                .err()
                .map(|f| f.to_string());
            let named = refused.is_some_and(|text| text.starts_with("--control-plane: "));
            assert!(named, "{bad}");
        }
        assert!(ControlPlane::new(&target(&["cp:1"; ADDRESSES_MAX + 1])).is_err());
    }

    #[test]
    fn a_token_is_sent_as_bearer_and_never_shown() {
        let mut target = target(&["cp:1"]);
        target.token = Some(" secret-1 ".to_owned());
        let plane = ControlPlane::new(&target).unwrap();
        let signed = plane.bearer.clone().call(Request::new(())).unwrap();
        assert_eq!(
            signed.metadata().get("authorization").unwrap(),
            "Bearer secret-1"
        );
        assert!(!format!("{:?}", plane.bearer).contains("secret-1"));
    }

    #[test]
    fn no_two_writes_have_one_name() {
        let mut plane = ControlPlane::new(&target(&["cp:1"])).unwrap();
        let (one, other) = (plane.write_id(), plane.write_id());
        assert_eq!(one.len(), 32);
        assert_ne!(one, other);
    }
}

//! The one place where a request becomes an identity.
//!
//! A [`Guard`] is an interceptor for every service: it finds out who calls, takes the token out of the request,
//! and puts the [`Identity`] into its extensions. Services ask [`allow`] before they do anything.
//!
//! Failed logins are counted, and beyond a rate they are neither explained nor logged. Good logins are never
//! held up by bad ones, else anybody could lock everybody out.

mod failures;

use std::sync::Arc;

use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::identity::{Action, Identity};
use super::tls::{self, CertificateRefused};
use super::tokens::{TokenRefused, TokenTable};

use crate::clock::NowUnixMs;
use failures::Failures;

const AUTHORIZATION: &str = "authorization";

/// What proves an identity to a control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing: whoever can reach it is local and may everything.
    OpenLoopback,
    /// A token.
    Tokens,
    /// A client certificate.
    MutualTls,
    /// A token, or without one a client certificate.
    TokensOrMutualTls,
}

impl Access {
    /// Whether clients can prove themselves with a certificate.
    pub fn takes_certificates(self) -> bool {
        matches!(self, Self::MutualTls | Self::TokensOrMutualTls)
    }

    /// Whether clients can prove themselves with a token.
    pub fn takes_tokens(self) -> bool {
        matches!(self, Self::Tokens | Self::TokensOrMutualTls)
    }
}

/// Why nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is neither a token nor a certificate that could be.
    #[error("{}", missing(*.0))]
    Nothing(Access),
    /// The header is not of the form.
    #[error("the authorization header must be given once, as `Bearer TOKEN`")]
    Malformed,
    /// The token lets nobody in.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The certificate lets nobody in.
    #[error(transparent)]
    Certificate(#[from] CertificateRefused),
}

impl From<&Refused> for Status {
    fn from(refused: &Refused) -> Self {
        let message = refused.to_string();
        match refused {
            Refused::Token(TokenRefused::Unready) => Self::unavailable(message),
            Refused::Certificate(
                CertificateRefused::Namespace { .. } | CertificateRefused::Field { .. },
            ) => Self::permission_denied(message),
            Refused::Nothing(_)
            | Refused::Malformed
            | Refused::Token(_)
            | Refused::Certificate(_) => Self::unauthenticated(message),
        }
    }
}

/// Finds out who calls. Cheap to clone; all clones count failed logins together.
#[derive(Clone)]
pub struct Guard {
    access: Access,
    tokens: Arc<TokenTable>,
    namespace: Arc<str>,
    now: NowUnixMs,
    failures: Arc<Failures>,
}

impl Guard {
    /// A guard that lets in by `access`: tokens of this table, certificates of this namespace.
    pub fn new(access: Access, tokens: Arc<TokenTable>, namespace: &str, now: NowUnixMs) -> Self {
        Self {
            access,
            tokens,
            namespace: Arc::from(namespace),
            now,
            failures: Arc::default(),
        }
    }

    /// How many logins failed since the start.
    pub fn failed_logins(&self) -> u64 {
        self.failures.total()
    }

    /// Waits until the identity holds no longer, and tells the status to end a stream with.
    pub async fn ended(&self, identity: &Identity) -> Status {
        let refused = self.tokens.ended(identity, &self.now).await;
        Status::from(&Refused::Token(refused))
    }

    /// Who makes this request.
    fn identify(&self, request: &Request<()>) -> Result<Identity, Refused> {
        if self.access == Access::OpenLoopback {
            return Ok(Identity::local());
        }
        if self.access.takes_tokens()
            && let Some(token) = bearer(request.metadata())?
        {
            return Ok(self.tokens.look_up(token, (self.now)())?);
        }
        // What TLS accepts without a check of the authority must not get here, so the access decides, too.
        if self.access.takes_certificates()
            && let Some(chain) = request.peer_certs()
            && let Some(certificate) = chain.first()
        {
            return Ok(tls::identity_of(certificate, &self.namespace)?);
        }
        Err(Refused::Nothing(self.access))
    }

    fn refuse(&self, refused: &Refused, request: &Request<()>) -> Status {
        if matches!(refused, Refused::Token(TokenRefused::Unready)) {
            return Status::from(refused);
        }
        if !self.failures.count((self.now)()) {
            return Status::resource_exhausted("too many failed logins; try again later");
        }
        let peer = request.remote_addr().map(|peer| peer.to_string());
        tracing::warn!(peer, reason = %refused, "login failed");
        Status::from(refused)
    }
}

impl Interceptor for Guard {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        match self.identify(&request) {
            Ok(identity) => {
                // Whatever prints a request later does not print the token.
                request.metadata_mut().remove(AUTHORIZATION);
                request.extensions_mut().insert(identity);
                Ok(request)
            }
            Err(refused) => Err(self.refuse(&refused, &request)),
        }
    }
}

/// Who makes a request that passed a guard, if it may do this.
///
/// # Errors
/// `PERMISSION_DENIED` when it may not, `UNAUTHENTICATED` when no guard saw it.
pub fn allow<T>(request: &Request<T>, action: &Action<'_>) -> Result<Identity, Status> {
    let identity = identity_of(request)?;
    permit(&identity, action)?;
    Ok(identity)
}

/// Who makes a request that passed a guard: for whoever learns only later what it is about, and asks [`permit`] then.
///
/// # Errors
/// `UNAUTHENTICATED` when no guard saw it.
pub fn identity_of<T>(request: &Request<T>) -> Result<Identity, Status> {
    let identity = request.extensions().get::<Identity>().cloned();
    identity.ok_or_else(|| Status::unauthenticated("no guard saw this request"))
}

/// Whether an identity may do this.
///
/// # Errors
/// `PERMISSION_DENIED` when it may not.
pub fn permit(identity: &Identity, action: &Action<'_>) -> Result<(), Status> {
    let allowed = identity.may(action);
    allowed.map_err(|denied| Status::permission_denied(denied.to_string()))
}

/// The token in the one authorization header, if there is one.
fn bearer(metadata: &MetadataMap) -> Result<Option<&str>, Refused> {
    let mut headers = metadata.get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else {
        return Ok(None);
    };
    if headers.next().is_some() {
        return Err(Refused::Malformed);
    }
    let header = header.to_str().map_err(|_| Refused::Malformed)?;
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(Refused::Malformed),
    }
}

fn missing(access: Access) -> &'static str {
    match access {
        Access::OpenLoopback => "nothing is asked for",
        Access::Tokens => "a token is needed: send it as `authorization: Bearer TOKEN`",
        Access::MutualTls => "a client certificate is needed",
        Access::TokensOrMutualTls => {
            "a token (`authorization: Bearer TOKEN`) or a client certificate is needed"
        }
    }
}

#[cfg(test)]
mod tests;

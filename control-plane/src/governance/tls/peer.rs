//! The identity in a client's certificate: `weir://namespace/role/subject` among its alternative names.
//!
//! The subject is a node's id, a backend's service, or the name of a person or program; it is the author of what
//! is done. It is never empty: a certificate that is valid for every node is worth more to a thief than to its
//! owner.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::governance::audit::name_of;
use crate::governance::identity::{Identity, Proof, Role};
use crate::governance::tokens::roles;
use crate::governance::{NAME_BOUND, is_name};

const SCHEME: &str = "weir://";

/// Why a certificate lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateRefused {
    /// It cannot be parsed.
    #[error("the client certificate cannot be read: {0}")]
    Unreadable(String),
    /// It names nobody that Weir knows of.
    #[error("the client certificate has no URI weir://{namespace}/ROLE/SUBJECT")]
    NoIdentity {
        /// Of this control plane.
        namespace: String,
    },
    /// It names several, and nobody says which one is meant.
    #[error("the client certificate has more than one weir:// URI")]
    Ambiguous,
    /// It is for another control plane.
    #[error("the client certificate is for namespace `{found}`, and this is `{namespace}`")]
    Namespace {
        /// What it is for.
        found: String,
        /// Of this control plane.
        namespace: String,
    },
    /// Its URI is not of the form.
    #[error("{field} in the client certificate's weir:// URI is `{found}`; allowed: {bound}")]
    Field {
        /// Which part.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it may be.
        bound: String,
    },
}

/// Who shows this certificate, which TLS found to be signed by the right authority.
///
/// # Errors
/// Why it lets nobody in.
pub fn identity_of(
    certificate: &CertificateDer<'_>,
    namespace: &str,
) -> Result<Identity, CertificateRefused> {
    let certificate = EndEntityCert::try_from(certificate)
        .map_err(|error| CertificateRefused::Unreadable(error.to_string()))?;
    let mut ours = certificate
        .valid_uri_names()
        .filter_map(|uri| uri.strip_prefix(SCHEME));
    match (ours.next(), ours.next()) {
        (Some(rest), None) => parse(rest, namespace),
        (Some(_), Some(_)) => Err(CertificateRefused::Ambiguous),
        (None, _) => Err(CertificateRefused::NoIdentity {
            namespace: namespace.to_owned(),
        }),
    }
}

/// Parses what follows the scheme. Nothing is decoded: a name with `%` in it is none.
pub(super) fn parse(rest: &str, namespace: &str) -> Result<Identity, CertificateRefused> {
    let (found, rest) = rest.split_once('/').unwrap_or((rest, ""));
    if found != namespace {
        return Err(CertificateRefused::Namespace {
            found: name_of(found),
            namespace: namespace.to_owned(),
        });
    }
    let (role, subject) = rest.split_once('/').unwrap_or((rest, ""));
    let field = |field, found, bound: &str| CertificateRefused::Field {
        field,
        found: name_of(found),
        bound: bound.to_owned(),
    };
    let role = Role::given(role).ok_or_else(|| field("role", role, &roles()))?;
    if !is_name(subject) {
        return Err(field("subject", subject, NAME_BOUND));
    }
    Ok(Identity {
        name: Arc::from(subject),
        role,
        subject: Arc::from(if role.has_subject() { subject } else { "" }),
        proof: Proof::Certificate,
    })
}

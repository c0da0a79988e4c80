//! What the files of a server hold, and the configuration that it makes.

use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::{ServerTls, TlsError, pem};
use crate::governance::guard::Access;

/// gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

/// PEM, as it was read. It is compared to see whether files were renewed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Held {
    certificate: Vec<u8>,
    key: Vec<u8>,
    /// Where clients' certificates are asked for.
    client_ca: Option<Vec<u8>>,
}

impl Held {
    pub(super) fn read(files: &ServerTls, access: Access) -> Result<Self, TlsError> {
        let [certificate, key] = files.own.read()?;
        let client_ca = match access.takes_certificates() {
            true => {
                let ca = files.client_ca.as_ref().ok_or(TlsError::NoClientCa)?;
                Some(pem::authorities(ca)?)
            }
            false => None,
        };
        Ok(Self {
            certificate,
            key,
            client_ca,
        })
    }

    /// What a server does with it: nobody's session outlives the configuration that it began under.
    pub(super) fn config(&self, access: Access) -> Result<ServerConfig, TlsError> {
        let own = certified(&self.certificate, &self.key).map_err(TlsError::Refused)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(ca) => builder.with_client_cert_verifier(verifier(ca, access)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own)));
        config.alpn_protocols.push(ALPN.to_vec());
        Ok(config)
    }
}

/// A certificate with the key that belongs to it; else why there is none.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<CertifiedKey, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
    CertifiedKey::from_der(chain, key, &provider()).map_err(|error| error.to_string())
}

fn verifier(ca: &[u8], access: Access) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca) {
        roots.add(certificate.map_err(refused)?).map_err(refused)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = match access {
        Access::MutualTls => builder,
        _ => builder.allow_unauthenticated(),
    };
    builder.build().map_err(refused)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn refused(error: impl ToString) -> TlsError {
    TlsError::Refused(error.to_string())
}

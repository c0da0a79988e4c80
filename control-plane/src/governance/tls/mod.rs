//! TLS from PEM files, and the identity in a certificate.
//!
//! Files are read and checked when the configuration is made. Those of a server are followed from then on
//! ([`Acceptor::follow`]), those of a client are read again for each connection ([`RenewedClientTls`]).
//! Certificates are not revoked: give clients short-lived ones. A connection is checked once, when it begins,
//! so bound its age where certificates are what lets clients in.

mod acceptor;
mod held;
mod peer;
mod pem;
mod renewed;

use std::path::PathBuf;
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::guard::Access;

pub use acceptor::Acceptor;
pub use peer::{CertificateRefused, identity_of};
pub use pem::{FILE_BYTES_MAX, TlsError};
pub use renewed::RenewedClientTls;

/// Longest handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// A certificate with its chain, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM, the certificate itself first.
    pub certificate: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

impl KeyPair {
    /// PEM of both, which belong together.
    fn read(&self) -> Result<[Vec<u8>; 2], TlsError> {
        let certificate = pem::certificates(&self.certificate)?;
        let key = pem::key(&self.key)?;
        held::certified(&certificate, &key).map_err(|reason| TlsError::Mismatch {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            reason,
        })?;
        Ok([certificate, key])
    }
}

/// How a server proves who it is, and who may prove itself to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// Of the server.
    pub own: KeyPair,
    /// PEM of the authorities that sign clients' certificates.
    pub client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// Reads the files. Clients must show a certificate, may, or are not asked, as `access` says.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else, certificate and key do not belong together, or the
    /// authorities are missing.
    pub fn load(self, access: Access) -> Result<Acceptor, TlsError> {
        Acceptor::load(self, access)
    }
}

/// How a client knows its server, and proves itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// PEM of the authorities that sign servers' certificates.
    pub ca: PathBuf,
    /// Of the client, where it has one.
    pub own: Option<KeyPair>,
    /// The name in the server's certificate, where it is not the one that is connected to.
    pub server_name: Option<String>,
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub fn load(&self) -> Result<ClientTlsConfig, TlsError> {
        let ca = Certificate::from_pem(pem::authorities(&self.ca)?);
        let mut config = ClientTlsConfig::new()
            .ca_certificate(ca)
            .timeout(HANDSHAKE_LIMIT);
        if let Some(own) = &self.own {
            let [certificate, key] = own.read()?;
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests;

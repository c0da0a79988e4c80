//! Reads PEM files and says what is wrong with them, which the TLS library does not: it passes over authorities
//! that it cannot parse.

use std::io::Read;
use std::path::{Path, PathBuf};

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Largest PEM file.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{} cannot be read: {reason}", .file.display())]
    Unreadable {
        /// Which.
        file: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The file is too large.
    #[error("{} is longer than {FILE_BYTES_MAX} bytes", .file.display())]
    TooLong {
        /// Which.
        file: PathBuf,
    },
    /// The file does not hold what it should.
    #[error("{} holds no {wanted} that can be used: {reason}", .file.display())]
    Unusable {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        wanted: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Each can be used, and not with the other.
    #[error("{} and {} do not belong together: {reason}", .certificate.display(), .key.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The TLS library does not take them.
    #[error("TLS cannot be set up: {0}")]
    Refused(String),
    /// Client certificates are asked for, and nobody is named who signs them.
    #[error("client certificates are asked for, and no file of their authorities is given")]
    NoClientCa,
}

/// A certificate and its chain.
pub(super) fn certificates(file: &Path) -> Result<Vec<u8>, TlsError> {
    read_certificates(file, "certificate", |certificate| {
        webpki::EndEntityCert::try_from(certificate).map(|_| ())
    })
}

/// Authorities, each of which can be used.
pub(super) fn authorities(file: &Path) -> Result<Vec<u8>, TlsError> {
    read_certificates(file, "authority's certificate", |certificate| {
        webpki::anchor_from_trusted_cert(certificate).map(|_| ())
    })
}

/// A private key.
pub(super) fn key(file: &Path) -> Result<Vec<u8>, TlsError> {
    let pem = read(file)?;
    match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(_) => Ok(pem),
        Err(error) => Err(unusable(file, "private key", error)),
    }
}

fn read_certificates(
    file: &Path,
    wanted: &'static str,
    check: impl Fn(&CertificateDer<'_>) -> Result<(), webpki::Error>,
) -> Result<Vec<u8>, TlsError> {
    let pem = read(file)?;
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(file, wanted, error))?;
        check(&certificate).map_err(|error| unusable(file, wanted, error))?;
        found += 1;
    }
    if found == 0 {
        return Err(unusable(file, wanted, "no PEM section CERTIFICATE"));
    }
    Ok(pem)
}

fn unusable(file: &Path, wanted: &'static str, reason: impl ToString) -> TlsError {
    TlsError::Unusable {
        file: file.to_owned(),
        wanted,
        reason: reason.to_string(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error: std::io::Error| TlsError::Unreadable {
        file: file.to_owned(),
        reason: error.to_string(),
    };
    // A pipe would be waited for without end.
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(unreadable(std::io::Error::other("not a regular file")));
    }
    let mut found = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut found))
        .map_err(unreadable)?;
    if found.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsError::TooLong {
            file: file.to_owned(),
        });
    }
    Ok(found)
}

//! Authorities and certificates, as files.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use tempfile::TempDir;
use weir_control_plane::governance::tls;

/// An authority with a folder for what it signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
    pub(crate) file: PathBuf,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let file = write(folder.path(), "ca.pem", &certificate.pem());
        Self {
            issuer: Issuer::new(params, key),
            folder,
            file,
        }
    }

    /// A certificate of a server on loopback.
    pub(crate) fn server(&self) -> tls::KeyPair {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let params = CertificateParams::new(names).unwrap();
        self.sign("server", params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate of a client with these URIs.
    pub(crate) fn client(&self, name: &str, uris: &[&str]) -> tls::KeyPair {
        let mut params = CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        let uris = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        params.subject_alt_names.extend(uris);
        self.sign(name, params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate of a client that ended long ago.
    pub(crate) fn expired(&self, uri: &str) -> tls::KeyPair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 2);
        self.sign("expired", params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        name: &str,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> tls::KeyPair {
        params.insert_extended_key_usage(usage);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let folder = self.folder.path();
        tls::KeyPair {
            certificate: write(folder, &format!("{name}.pem"), &certificate.pem()),
            key: write(folder, &format!("{name}.key"), &key.serialize_pem()),
        }
    }
}

fn write(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

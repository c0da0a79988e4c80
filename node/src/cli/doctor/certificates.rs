//! The certificates that a configuration names.

use std::io::Read as _;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use weir_control_plane::governance::tls::FILE_BYTES_MAX;
use weir_core::doctor::{Certificate, Validity, x509};

use crate::cli::control_plane::Etcd;
use crate::config::Config;

/// Those of the node.
pub(super) fn of_config(config: &Config) -> Vec<Certificate> {
    let control_plane = &config.control_plane;
    let mut found = Vec::new();
    found.extend(
        control_plane
            .ca
            .iter()
            .map(|path| read("control_plane.ca", path, true)),
    );
    found.extend(
        control_plane
            .cert
            .iter()
            .map(|path| read("control_plane.cert", path, false)),
    );
    for cdn in &config.cdns {
        let key = format!("cdns.{}.ca", cdn.name);
        found.extend(cdn.api.ca_file.iter().map(|path| read(&key, path, true)));
    }
    found
}

/// Those for etcd.
pub(super) fn of_etcd(etcd: &Etcd) -> Vec<Certificate> {
    let ca = etcd.ca.iter().map(|path| read("--etcd-ca", path, true));
    let own = etcd.identity.iter();
    ca.chain(own.map(|(path, _)| read("--etcd-cert", path, false)))
        .collect()
}

fn read(key: &str, path: &Path, is_bundle: bool) -> Certificate {
    Certificate {
        key: key.to_owned(),
        path: path.display().to_string(),
        is_bundle,
        validity: validities(path),
    }
}

fn validities(path: &Path) -> Result<Vec<Validity>, String> {
    let mut pem = Vec::new();
    let opened = std::fs::File::open(path);
    opened
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut pem))
        .map_err(|error| error.to_string())?;
    if pem.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    CertificateDer::pem_slice_iter(&pem)
        .map(|one| {
            let der = one.map_err(|error| format!("is no PEM: {error}"))?;
            x509::validity(&der).ok_or_else(|| "holds something that is no certificate".to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_certificate_ends_when_its_maker_says() {
        let folder = tempfile::tempdir().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["weir".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2071, 1, 2);
        let key = rcgen::KeyPair::generate().unwrap();
        let path = folder.path().join("cert.pem");
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(&path, pem.repeat(2)).unwrap();
        let expected = Validity {
            from_unix_s: 1_577_836_800,
            to_unix_s: 3_187_382_400,
        };
        assert_eq!(validities(&path), Ok(vec![expected; 2]));
    }

    #[test]
    fn a_file_that_is_none_is_refused_with_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        assert!(validities(&path).is_err());
        std::fs::write(
            &path,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        assert!(validities(&path).unwrap_err().contains("no certificate"));
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(validities(&path), Ok(Vec::new()));
        std::fs::write(&path, vec![b'x'; 2 << 20]).unwrap();
        assert!(validities(&path).unwrap_err().contains("larger than"));
    }
}

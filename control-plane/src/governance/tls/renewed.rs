//! TLS of a client that connects again and again: each connection begins with what the files hold then.

use tonic::transport::ClientTlsConfig;

use super::{ClientTls, TlsError};

/// The files, and what they held when they could last be used.
#[derive(Clone, Debug)]
pub struct RenewedClientTls {
    files: ClientTls,
    in_force: ClientTlsConfig,
    told: Option<TlsError>,
}

impl RenewedClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or holds something else.
    pub fn load(files: ClientTls) -> Result<Self, TlsError> {
        Ok(Self {
            in_force: files.load()?,
            files,
            told: None,
        })
    }

    /// Reads the files again. Files that cannot be used are told once and change nothing.
    pub fn renew(&mut self) {
        match self.files.load() {
            Ok(config) => {
                self.in_force = config;
                self.told = None;
            }
            Err(error) => {
                if self.told.as_ref() != Some(&error) {
                    tracing::error!(%error, "new TLS files cannot be used, the old ones stay in force");
                }
                self.told = Some(error);
            }
        }
    }

    /// What was read last of files that could be used.
    pub fn in_force(&self) -> &ClientTlsConfig {
        &self.in_force
    }
}

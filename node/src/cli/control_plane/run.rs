//! What an instance of the control plane is started with, and its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::output::Failure;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Access {
    /// Anyone who reaches the address.
    Open,
    /// Who has a token.
    Tokens,
    /// Who has a certificate that --client-ca signed.
    Mtls,
    /// Who has either.
    TokensOrMtls,
}

/// What an instance is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct RunArguments {
    /// Where to listen.
    pub(in crate::cli) listen: SocketAddr,
    /// Where desired state is kept.
    pub(in crate::cli) store: StorePlace,
    /// Keeps several meshes apart in one store.
    pub(in crate::cli) namespace: String,
    /// The instance's name.
    pub(in crate::cli) name: String,
    /// Who may call.
    pub(in crate::cli) access: Access,
    /// Whether to listen beyond loopback without TLS or without asking who calls.
    pub(in crate::cli) insecure: bool,
    /// The instance's own certificate.
    pub(in crate::cli) tls: Option<ServerTls>,
    /// The first administrator's token.
    pub(in crate::cli) bootstrap_token_file: Option<PathBuf>,
    /// Which log lines to write.
    pub(in crate::cli) log: String,
    /// Whether as JSON.
    pub(in crate::cli) log_json: bool,
    /// Whether to stop when standard input ends.
    pub(in crate::cli) stop_with_stdin: bool,
}

/// Where desired state is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum StorePlace {
    /// In a file in this folder.
    Embedded(PathBuf),
    /// In etcd.
    Etcd(Etcd),
}

/// How etcd is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Etcd {
    /// `http://` or `https://` addresses of its members; at least one.
    pub(in crate::cli) endpoints: Vec<String>,
    /// Who signs its certificates.
    pub(in crate::cli) ca: Option<PathBuf>,
    /// Certificate and key for it.
    pub(in crate::cli) identity: Option<(PathBuf, PathBuf)>,
    /// Name, and where the password is: `file:/path` or `env:NAME`.
    pub(in crate::cli) user: Option<(String, String)>,
}

/// Certificate, key, and who signs those of callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct ServerTls {
    pub(in crate::cli) cert: PathBuf,
    pub(in crate::cli) key: PathBuf,
    pub(in crate::cli) client_ca: Option<PathBuf>,
}

/// Runs one instance until it is told to stop.
pub(super) fn run(_arguments: RunArguments) -> Result<(), Failure> {
    Err(Failure::Other(
        "this version holds no control plane yet".to_owned(),
    ))
}

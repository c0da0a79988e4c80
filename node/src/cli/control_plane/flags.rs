//! The arguments of an instance of the control plane, as they are written, and checked.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use weir_core::tuning::{NAME_BOUND, NAME_CHARS_MAX, is_name};

use super::bounds::BoundsFlags;
use super::run::{Access, Etcd, RunArguments, ServerTls, StorePlace};
use crate::cli::output::Failure;

const ETCD_SCHEME: &str = "etcd://";
const ETCD_MEMBERS_MAX: usize = 16;

/// What an instance is started with, as it is written.
#[derive(Args)]
pub(super) struct Flags {
    /// Where to listen for nodes and operators; beyond loopback only with TLS and --access, or --insecure.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:7500", value_parser = listen)]
    listen: SocketAddr,
    /// etcd://HOST:PORT,... or a folder for a store of its own [default: the folder of --data-dir].
    #[arg(long, env = "WEIR_STORE")]
    store: Option<String>,
    /// The folder of the store that is one file.
    #[arg(
        long,
        value_name = "FOLDER",
        env = "WEIR_DATA_DIR",
        default_value = "weir-data"
    )]
    data_dir: PathBuf,
    /// Keeps several meshes apart in one store.
    #[arg(long, default_value = "default", value_parser = name)]
    namespace: String,
    /// The instance's name; of several instances each needs its own [default: the host's name and the port].
    #[arg(long, value_parser = name)]
    name: Option<String>,
    /// Who may call.
    #[arg(long, value_enum, default_value_t = Access::Open)]
    access: Access,
    /// Allow to listen beyond loopback without TLS or without --access.
    #[arg(long)]
    insecure: bool,
    /// The instance's certificate chain (PEM); like --tls-key and --client-ca it may be renewed in place.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Who signs the certificates of callers (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// The file of the first administrator's token; one is made when it is not there.
    #[arg(long, value_name = "FILE")]
    bootstrap_token_file: Option<PathBuf>,
    #[command(flatten)]
    etcd: EtcdFlags,
    #[command(flatten)]
    registered: BoundsFlags,
    /// The OTLP gRPC receiver that the way of profile changes is told to, such as http://127.0.0.1:4317.
    #[arg(long, value_name = "URL", env = "WEIR_TELEMETRY__OTLP")]
    otlp: Option<String>,
    /// Which log lines to write, as in RUST_LOG.
    #[arg(long, env = "WEIR_LOG", default_value = "info")]
    log: String,
    /// Write log lines as JSON.
    #[arg(long)]
    log_json: bool,
    /// Stop when standard input ends: for processes that start an instance.
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

/// How etcd is reached.
#[derive(Args)]
pub(in crate::cli) struct EtcdFlags {
    /// Who signs etcd's certificates (PEM); asks for TLS.
    #[arg(long = "etcd-ca", id = "etcd_ca", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The certificate for etcd (PEM).
    #[arg(long = "etcd-cert", id = "etcd_cert", value_name = "FILE", requires_all = ["etcd_key", "etcd_ca"])]
    cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(
        long = "etcd-key",
        id = "etcd_key",
        value_name = "FILE",
        requires = "etcd_cert"
    )]
    key: Option<PathBuf>,
    /// The user's name in etcd.
    #[arg(
        long = "etcd-user",
        id = "etcd_user",
        value_name = "NAME",
        requires = "etcd_password"
    )]
    user: Option<String>,
    /// Where the user's password is: file:/path or env:NAME.
    #[arg(
        long = "etcd-password",
        id = "etcd_password",
        value_name = "REFERENCE",
        requires = "etcd_user",
        value_parser = reference
    )]
    password: Option<String>,
}

fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "allowed: an IP address and a port, such as 127.0.0.1:7500".to_owned())
}

fn name(text: &str) -> Result<String, String> {
    match is_name(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("allowed: {NAME_BOUND}")),
    }
}

/// The secret itself does not belong on a command line.
fn reference(text: &str) -> Result<String, String> {
    let is_reference = ["file:", "env:"]
        .iter()
        .any(|kind| text.strip_prefix(kind).is_some_and(|rest| !rest.is_empty()));
    match is_reference {
        true => Ok(text.to_owned()),
        false => Err("allowed: file:/path or env:NAME".to_owned()),
    }
}

impl Flags {
    /// What one flag alone cannot tell.
    pub(super) fn check(self) -> Result<RunArguments, Failure> {
        let takes_certificates = matches!(self.access, Access::Mtls | Access::TokensOrMtls);
        let takes_tokens = matches!(self.access, Access::Tokens | Access::TokensOrMtls);
        if takes_certificates && self.client_ca.is_none() {
            return Err(usage("--access: certificates of callers need --client-ca"));
        }
        if !takes_certificates && self.client_ca.is_some() {
            return Err(usage(
                "--client-ca: needs --access mtls or --access tokens-or-mtls",
            ));
        }
        if !takes_tokens && self.bootstrap_token_file.is_some() {
            return Err(usage(
                "--bootstrap-token-file: needs --access tokens or --access tokens-or-mtls",
            ));
        }
        let tls = self
            .tls_cert
            .zip(self.tls_key)
            .map(|(cert, key)| ServerTls {
                cert,
                key,
                client_ca: self.client_ca,
            });
        Ok(RunArguments {
            store: place(self.store, self.data_dir, self.etcd)?,
            name: self.name.unwrap_or_else(|| name_of(self.listen)),
            listen: self.listen,
            namespace: self.namespace,
            access: self.access,
            insecure: self.insecure,
            tls,
            bootstrap_token_file: self.bootstrap_token_file,
            registered: self.registered.into(),
            otlp: self.otlp,
            log: self.log,
            log_json: self.log_json,
            stop_with_stdin: self.stop_with_stdin,
        })
    }
}

fn usage(text: impl fmt::Display) -> Failure {
    Failure::Usage(text.to_string())
}

/// The store that these flags name; `None` when they name none.
pub(in crate::cli) fn named_store(
    store: Option<String>,
    etcd: EtcdFlags,
) -> Result<Option<StorePlace>, Failure> {
    let is_named = store.is_some();
    let place = place(store, PathBuf::new(), etcd)?;
    Ok(is_named.then_some(place))
}

fn place(store: Option<String>, data_dir: PathBuf, etcd: EtcdFlags) -> Result<StorePlace, Failure> {
    let members = store
        .as_deref()
        .and_then(|store| store.strip_prefix(ETCD_SCHEME));
    if let Some(members) = members {
        return Ok(StorePlace::Etcd(Etcd {
            endpoints: endpoints(members, etcd.ca.is_some())?,
            ca: etcd.ca,
            identity: etcd.cert.zip(etcd.key),
            user: etcd.user.zip(etcd.password),
        }));
    }
    if etcd.ca.is_some() || etcd.user.is_some() {
        return Err(usage(
            "--etcd-ca, --etcd-user: need --store etcd://HOST:PORT",
        ));
    }
    match store {
        None => Ok(StorePlace::Embedded(data_dir)),
        Some(store) if store.is_empty() || store.contains("://") => Err(usage(format!(
            "--store: `{store}` is no store; allowed: etcd://HOST:PORT,... or a folder"
        ))),
        Some(folder) => Ok(StorePlace::Embedded(PathBuf::from(folder))),
    }
}

fn endpoints(members: &str, tls: bool) -> Result<Vec<String>, Failure> {
    let scheme = if tls { "https" } else { "http" };
    let endpoints: Vec<String> = members
        .split(',')
        .map(|member| match is_host_and_port(member) {
            true => Ok(format!("{scheme}://{member}")),
            false => Err(usage(format!(
                "--store: `{member}` is no address of etcd; allowed: HOST:PORT"
            ))),
        })
        .collect::<Result<_, _>>()?;
    match endpoints.len() {
        1..=ETCD_MEMBERS_MAX => Ok(endpoints),
        count => Err(usage(format!(
            "--store: {count} members of etcd; allowed: 1 to {ETCD_MEMBERS_MAX}"
        ))),
    }
}

fn is_host_and_port(member: &str) -> bool {
    let authority: Option<http::uri::Authority> = member.parse().ok();
    authority.is_some_and(|authority| {
        authority.port_u16().is_some_and(|port| port > 0)
            && !authority.host().is_empty()
            && !member.contains('@')
    })
}

/// The host's name and the port: instances on one host, or on hosts with names of their own, are told apart.
fn name_of(listen: SocketAddr) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let port = listen.port().to_string();
    let host: String = host
        .trim()
        .chars()
        .take(NAME_CHARS_MAX - 1 - port.len())
        .collect();
    let name = format!("{host}-{port}");
    match is_name(&host) {
        true => name,
        false => format!("control-plane-{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use weir_control_plane::quota::Bounds;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: Flags,
    }

    fn parse(line: &str) -> Result<RunArguments, String> {
        let words = std::iter::once("weir").chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.flags.check().map_err(|failure| failure.to_string())
    }

    #[test]
    fn without_arguments_it_is_open_on_loopback_with_a_file() {
        let arguments = parse("").unwrap();
        assert_eq!(arguments.listen, "127.0.0.1:7500".parse().unwrap());
        assert_eq!(arguments.store, StorePlace::Embedded("weir-data".into()));
        assert_eq!(arguments.namespace, "default");
        assert_eq!(arguments.access, Access::Open);
        assert!(is_name(&arguments.name) && arguments.name.ends_with("-7500"));
        assert_eq!(arguments.tls, None);
        assert_eq!(arguments.registered, Bounds::default());
        let bounded = parse("--nodes-max 7 --backends-per-token-max 9")
            .unwrap()
            .registered;
        assert_eq!((bounded.nodes_max, bounded.backends_per_token_max), (7, 9));
    }

    #[test]
    fn a_store_is_etcd_or_a_folder() {
        let store = |line: &str| parse(line).unwrap().store;
        assert_eq!(
            store("--store ./here"),
            StorePlace::Embedded("./here".into())
        );
        assert_eq!(store("--data-dir /d"), StorePlace::Embedded("/d".into()));
        let plain = Etcd {
            endpoints: vec!["http://a:1".into(), "http://[::1]:2".into()],
            ca: None,
            identity: None,
            user: None,
        };
        assert_eq!(store("--store etcd://a:1,[::1]:2"), StorePlace::Etcd(plain));
        let secured = Etcd {
            endpoints: vec!["https://a:1".into()],
            ca: Some("ca".into()),
            identity: Some(("c".into(), "k".into())),
            user: Some(("weir".into(), "env:PW".into())),
        };
        assert_eq!(
            store(
                "--store etcd://a:1 --etcd-ca ca --etcd-cert c --etcd-key k --etcd-user weir \
                 --etcd-password env:PW"
            ),
            StorePlace::Etcd(secured)
        );
    }

    #[test]
    fn what_does_not_fit_together_is_refused_by_name() {
        for (line, named) in [
            ("--store etcd://", "`` is no address of etcd"),
            ("--store etcd://a", "`a` is no address of etcd"),
            ("--store redis://a:1", "`redis://a:1` is no store"),
            ("--etcd-ca ca", "--etcd-ca, --etcd-user: need"),
            (
                "--store etcd://a:1 --etcd-user u --etcd-password hunter2",
                "allowed: file:/path",
            ),
            ("--access mtls", "--client-ca"),
            (
                "--tls-cert c --tls-key k --client-ca ca",
                "--client-ca: needs --access",
            ),
            (
                "--bootstrap-token-file t",
                "--bootstrap-token-file: needs --access",
            ),
            ("--tls-cert c", "--tls-key"),
            ("--namespace a/b", "--namespace"),
            ("--nodes-max 0", "allowed: 1 to 1000000"),
            (
                "--backends-per-service-max 1000001",
                "allowed: 1 to 1000000",
            ),
            ("--name a/b", "--name"),
            (
                "--listen localhost:7501",
                "allowed: an IP address and a port",
            ),
        ] {
            let refused = parse(line).unwrap_err();
            assert!(refused.contains(named), "{line}: {refused}");
        }
        assert!(parse("--access mtls --tls-cert c --tls-key k --client-ca ca").is_ok());
        assert!(parse("--access tokens --bootstrap-token-file t").is_ok());
    }
}

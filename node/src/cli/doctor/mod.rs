//! `weir doctor`: whether this host, and what a node needs beside it, are fit.

mod certificates;
mod host;
mod probes;
mod show;
mod write;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use weir_core::doctor::{
    Advertised, Facts, Finding, Ignored, Needs, Severity, examine, sysctl_file, worst,
};
use weir_core::tuning::{PRESETS, Profile, preset};
use weir_core::units::parse_duration;

use super::control_plane::{EtcdFlags, StorePlace, named_store};
use super::output::{Failure, Format, note};
use crate::config::{Config, DriverKind, Environment, Given, Protocol};
use crate::node::{self, NodeError};
use crate::ports::clock::WallClock;
use crate::ports::net::Endpoint;

/// Codes that no other command ends with.
const WARNED: u8 = 10;
const FAILED: u8 = 11;

/// Look whether this host, and what a node needs beside it, are fit; each finding with its effect and its fix
///
/// Compared are kernel parameters and file limits with what the profile's `host` knobs say and the connections
/// that may be open, and the clock with those of Redis and etcd. Folders are looked at for room, certificates for
/// their ends. Everybody that the configuration names is asked, all at once: control plane, Redis, Docker, Gluetun,
/// OTLP collector. Nothing is changed.
#[derive(Args)]
#[command(
    after_help = "Example:\n  weir doctor\n  weir doctor --config node.toml --profile high-traffic\n  \
    weir doctor --config node.toml --store etcd://10.0.0.1:2379 -o json\n  \
    weir doctor --profile high-traffic --write-sysctl 90-weir.conf\n\n\
    Exit codes:\n  0 nothing worse than an information, 10 the worst is a warning, 11 the worst is an error;\n  \
    those of other commands where the doctor could not look: 1, 2, 64"
)]
pub(super) struct Doctor {
    /// The configuration file of the node; without it only the host is looked at.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The profile that the node is to run; see `weir profile presets`.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// The control plane's store, as its own flag says: etcd://HOST:PORT,... or a folder.
    #[arg(long, env = "WEIR_STORE")]
    store: Option<String>,
    #[command(flatten)]
    etcd: EtcdFlags,
    /// How long each question to another process may take.
    #[arg(long, value_name = "TIME", value_parser = timeout, default_value = "3s")]
    timeout: Duration,
    /// Show what is as it should be, too.
    #[arg(long)]
    all: bool,
    /// Write the changes of kernel parameters as a file for /etc/sysctl.d.
    #[arg(long, value_name = "FILE")]
    write_sysctl: Option<PathBuf>,
    /// Write it although there is such a file.
    #[arg(long, requires = "write_sysctl")]
    force: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

fn timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(time) if (Duration::from_millis(10)..=Duration::from_secs(60)).contains(&time) => {
            Ok(time)
        }
        Ok(_) => Err("allowed: 10ms to 60s".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

impl Doctor {
    /// # Errors
    /// What kept it from looking; what it found is its exit code.
    pub(super) fn run(self) -> Result<ExitCode, Failure> {
        let profile = profile(self.profile.as_deref())?;
        let environment: Environment = std::env::vars().collect();
        let config = config(self.config.as_ref(), &environment, &profile)?;
        let store = named_store(self.store, self.etcd)?;
        let needs = needs(&config, self.profile.is_some());
        let facts = gather(&config, store.as_ref(), self.timeout)?;
        let findings = examine(&facts, &profile, &needs);
        if let Some(path) = &self.write_sysctl {
            write::whole(path, &sysctl_file(&findings), self.force)?;
            note(&format!("{} is written", path.display()));
        }
        show::show(&findings, self.all, self.output)?;
        Ok(ExitCode::from(code(&findings)))
    }
}

fn code(findings: &[Finding]) -> u8 {
    match worst(findings) {
        Severity::Ok | Severity::Info => 0,
        Severity::Warning => WARNED,
        Severity::Error => FAILED,
    }
}

fn profile(name: Option<&str>) -> Result<Profile, Failure> {
    let Some(name) = name else {
        return Ok(Profile::new());
    };
    let found = preset(name).map(|preset| preset.profile());
    found.ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        let names = names.join(", ");
        Failure::Usage(format!("--profile: `{name}` is none (allowed: {names})"))
    })
}

/// The configuration that the profile makes of the file; of none, the defaults.
fn config(
    path: Option<&PathBuf>,
    environment: &Environment,
    profile: &Profile,
) -> Result<Config, Failure> {
    let text = match path {
        Some(path) => node::load(path, environment)?.1,
        None => String::new(),
    };
    let given = Given {
        profile: Arc::new(profile.clone()),
        ..Given::default()
    };
    Config::parse(&text, environment, &given).map_err(|problems| {
        let path = path.cloned().unwrap_or_default();
        NodeError::Config { path, problems }.into()
    })
}

fn needs(config: &Config, has_profile: bool) -> Needs {
    let cores = config.node.cores;
    let pools = config.services.iter().map(|service| {
        let of_core = match service.protocol {
            Protocol::Http1 => service.pool.connections_max,
            Protocol::Http2 => service.pool.h2_connections_max,
        };
        let engines = service.engines.as_ref();
        let engines = engines.map_or(0, |engines| engines.scale.max as usize);
        (
            of_core.saturating_mul(cores),
            service.backends.len() + engines,
        )
    });
    let pools: Vec<(usize, usize)> = pools.collect();
    let all = pools.iter().fold(0_usize, |sum, (one, backends)| {
        sum.saturating_add(one.saturating_mul(*backends))
    });
    let largest = pools.iter().map(|(one, _)| *one).max().unwrap_or(0);
    Needs::new(
        config.ingress.connections_max as u64,
        all as u64,
        largest as u64,
        has_profile,
    )
}

/// `None` for a node of its own.
fn advertised(config: &Config) -> Option<Advertised> {
    let endpoints = &config.control_plane.endpoints;
    let places = endpoints.iter().filter_map(|url| url.split_once("://"));
    let mut places = places.filter_map(|(_, place)| place.parse::<Endpoint>().ok());
    (!endpoints.is_empty()).then(|| Advertised {
        ingress: config.ingress.addresses_for_others().to_vec(),
        is_beside_control_plane: places.all(|place| place.is_loopback()),
    })
}

fn listen_ports(config: &Config) -> Vec<u16> {
    let own = [config.grpc.listen.port(), config.http_api.listen.port()];
    let ingress = config.ingress.listen.iter().map(std::net::SocketAddr::port);
    ingress.chain(own).collect()
}

/// Whether anything of the configuration needs Docker.
fn uses_docker(config: &Config) -> bool {
    let mut engines = config
        .services
        .iter()
        .filter_map(|service| service.engines.as_ref());
    engines.any(|engines| engines.launch.driver == DriverKind::Docker)
        || config.vpns.iter().any(|vpn| vpn.restart_after.is_some())
}

/// Names of the environment that have no effect.
fn ignored(config: &Config) -> Vec<Ignored> {
    let names = config.ignored_names.iter();
    let told = names.map(|one| Ignored {
        name: one.name.to_owned(),
        why: one.why.to_owned(),
    });
    told.collect()
}

/// Looks at everything. What others are asked does not keep the command: a name server may not either.
fn gather(config: &Config, store: Option<&StorePlace>, limit: Duration) -> Result<Facts, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let clock = WallClock::system();
    let etcd = match store {
        Some(StorePlace::Etcd(etcd)) => Some(etcd),
        _ => None,
    };
    let asked = runtime.block_on(probes::ask(config, etcd, limit, clock));
    runtime.shutdown_background();
    let (probes, offsets) = asked;
    let mut certificates = certificates::of_config(config);
    certificates.extend(etcd.into_iter().flat_map(certificates::of_etcd));
    Ok(Facts {
        parameters: host::parameters(host::PROC.as_ref()),
        listen_ports: listen_ports(config),
        open_files: Some(host::open_files()),
        clock: weir_core::doctor::Clock {
            daemon: host::daemon("/".as_ref()),
            offsets,
        },
        folders: host::folders(config, store),
        probes,
        certificates,
        ignored: ignored(config),
        advertised: advertised(config),
        now_unix_s: clock.unix_now().as_secs(),
    })
}

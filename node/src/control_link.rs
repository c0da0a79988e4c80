//! The node's side of the control plane, from the disk at the start to the last word at the end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::ClientTlsConfig;
use weir_control_plane::governance::secret::SecretRef;
use weir_control_plane::governance::tls::{ClientTls, KeyPair, RenewedClientTls, TlsError};
use weir_core::error::chain;
use weir_proto::control::v1 as pb;

use crate::actors::config_agent::control_plane::{
    Ends, Settings, Start, Taker, TokenError, bearer, run,
};
use crate::actors::config_agent::last_known_good::{self, Boot, Keeper, LastKnownGood};
use crate::advertise::advertise;
use crate::config::{Config, ControlPlane, Given};
use crate::peers::{VPNS_LABEL, vpns_label};
use crate::ports::clock::WallClock;
use crate::ports::net::{Endpoint, Net, Tcp};
use crate::wiring::{Env, Wired};

/// How long the last word to the control plane may take.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);
/// The folder below the node's own in which its last known good is.
const FOLDER: &str = "last-known-good";

/// Why the way to the control plane cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token cannot be used.
    #[error("control_plane.token: {0}")]
    Token(#[source] TokenError),
    /// A certificate or key cannot be used.
    #[error("control_plane: {0}")]
    Tls(#[source] TlsError),
}

/// What the node knows before it starts: the way to the control plane, and what it had when it last ran.
pub struct ControlLink {
    endpoints: Vec<Endpoint>,
    tls: Option<RenewedClientTls>,
    token: Option<SecretRef>,
    keeper: Option<Keeper>,
    start: Start,
}

/// How the control plane is called beside the stream.
#[derive(Clone)]
pub struct Calls {
    /// Its instances.
    pub endpoints: Vec<Endpoint>,
    /// TLS, where it is asked for.
    pub tls: Option<ClientTlsConfig>,
    /// What proves who the node is, as a header.
    pub bearer: Option<MetadataValue<Ascii>>,
    /// How the connection is made.
    pub net: Arc<dyn Net>,
}

impl Calls {
    /// How an instance is called now: token and certificates are read again. `None` for a node of its own.
    ///
    /// # Errors
    /// When a token, certificate or key cannot be used.
    pub fn of(settings: &ControlPlane) -> Result<Option<Self>, Error> {
        if settings.endpoints.is_empty() {
            return Ok(None);
        }
        let token = settings.token.as_ref();
        Ok(Some(Self {
            endpoints: places_of(settings),
            tls: tls(settings)?.map(|tls| tls.in_force().clone()),
            bearer: token.map(bearer).transpose().map_err(Error::Token)?,
            net: Arc::new(Tcp),
        }))
    }
}

/// The link at work.
pub struct Linked {
    stop: watch::Sender<bool>,
    stream: Option<JoinHandle<()>>,
    keeper: Option<Keeper>,
}

impl ControlLink {
    /// Reads what the file points to, and the node's last known good.
    ///
    /// # Errors
    /// When a token, certificate or key cannot be used. A disk that cannot be used is told and does no harm.
    pub fn prepare(file: &Config, clock: WallClock) -> Result<Self, Error> {
        let ControlPlane {
            endpoints, token, ..
        } = &file.control_plane;
        if let Some(token) = token {
            // It is read again for each stream; a start without one would be a mistake.
            bearer(token).map_err(Error::Token)?;
        }
        let mut link = Self {
            endpoints: places_of(&file.control_plane),
            tls: tls(&file.control_plane)?,
            token: token.clone(),
            keeper: None,
            start: Start::default(),
        };
        if let Some(folder) = &file.node.data_dir
            && !endpoints.is_empty()
        {
            let version = env!("CARGO_PKG_VERSION");
            let (disk, boot) = LastKnownGood::open(&folder.join(FOLDER), version, clock.unix_now());
            log(&boot);
            link.start = Start::of(&boot, &clock);
            link.keeper = Some(Keeper::new(disk, clock));
        }
        Ok(link)
    }

    /// Whether token, certificates and key can be used; changes nothing.
    ///
    /// # Errors
    /// When one of them cannot.
    pub fn check(settings: &ControlPlane) -> Result<(), Error> {
        let token = settings.token.as_ref();
        token.map(bearer).transpose().map_err(Error::Token)?;
        tls(settings).map(drop)
    }

    /// What the node starts from.
    pub fn given(&self) -> &Given {
        self.start.given()
    }

    /// How it is called beside the stream; `None` for a node of its own.
    ///
    /// # Errors
    /// When the token cannot be used.
    pub fn calls(&self) -> Result<Option<Calls>, TokenError> {
        if self.endpoints.is_empty() {
            return Ok(None);
        }
        Ok(Some(Calls {
            endpoints: self.endpoints.clone(),
            tls: self.tls.as_ref().map(|tls| tls.in_force().clone()),
            bearer: self.token.as_ref().map(bearer).transpose()?,
            net: Arc::new(Tcp),
        }))
    }

    /// Begins to speak with the control plane. Must run within a `LocalSet`.
    pub fn start(self, wired: &Wired, env: &Env) -> Linked {
        let (stop, stopping) = watch::channel(false);
        let keeper = self.keeper.clone();
        if self.endpoints.is_empty() {
            return Linked {
                stop,
                stream: None,
                keeper,
            };
        }
        let taker = Taker::new(
            self.start,
            Ends {
                agent: wired.config.clone(),
                orders: wired.orders.clone(),
                keeper: self.keeper,
                status: wired.control_plane.clone(),
                tracer: wired.core_parts.tracer.weak(),
            },
        );
        taker.show(|status| status.configured = true);
        let config = Arc::clone(&wired.config.in_force().config);
        let mut settings = Settings {
            endpoints: self.endpoints,
            net: Arc::clone(&env.net),
            tls: self.tls,
            token: self.token,
            hello: hello(&config, env),
            metrics: wired.core_parts.metrics.clone(),
            seed: env.seed,
        };
        Linked {
            stop,
            stream: Some(tokio::task::spawn_local(async move {
                advertise(&mut settings.hello, &settings.endpoints).await;
                run(settings, taker, stopping).await;
            })),
            keeper,
        }
    }

    /// The node does not start, for a reason that its profile cannot have caused.
    pub async fn ended_well(self) {
        ended_well(self.keeper.as_ref()).await;
    }
}

impl Linked {
    /// Takes leave: the control plane knows that the node stops, and the disk that it did not crash.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Some(stream) = self.stream {
            let _ = timeout(LAST_WORD_TIMEOUT, stream).await;
        }
        ended_well(self.keeper.as_ref()).await;
    }
}

async fn ended_well(keeper: Option<&Keeper>) {
    if let Some(keeper) = keeper
        && let Err(error) = keeper.ended_well().await
        // What is there is another run's.
        && !matches!(error, last_known_good::Error::InUse)
    {
        tracing::warn!(error = %chain(&error), "the next start will take this end for a crash");
    }
}

fn log(boot: &Boot) {
    for note in &boot.notes {
        tracing::warn!(note, "last known good");
    }
    if let Some(hash) = &boot.rolled_back {
        let back_to = boot.back_to();
        tracing::error!(%hash, back_to, "this profile crashed the node and is in quarantine");
    }
}

fn places_of(settings: &ControlPlane) -> Vec<Endpoint> {
    let endpoints = settings.endpoints.iter();
    endpoints.filter_map(|url| place_of(url)).collect()
}

/// `host:port` of a URL that the configuration has checked.
fn place_of(url: &str) -> Option<Endpoint> {
    let (_, place) = url.split_once("://")?;
    place.parse().ok()
}

fn tls(settings: &ControlPlane) -> Result<Option<RenewedClientTls>, Error> {
    let Some(ca) = &settings.ca else {
        return Ok(None);
    };
    let own = settings.cert.clone().zip(settings.key.clone());
    let tls = ClientTls {
        ca: ca.clone(),
        own: own.map(|(certificate, key)| KeyPair { certificate, key }),
        server_name: None,
    };
    RenewedClientTls::load(tls).map(Some).map_err(Error::Tls)
}

/// The node's first words.
fn hello(config: &Config, env: &Env) -> pb::Hello {
    let subscribe = [
        pb::ResourceType::Profile,
        pb::ResourceType::Weights,
        pb::ResourceType::Endpoints,
        pb::ResourceType::Peers,
        pb::ResourceType::Orders,
    ];
    let boot_ms = env.clock.unix_now().as_millis();
    let mut labels = config.node.labels.clone();
    let vpns: Vec<String> = config.vpns.iter().map(|vpn| vpn.name.clone()).collect();
    labels.extend(vpns_label(&vpns).map(|names| (VPNS_LABEL.to_owned(), names)));
    let ingress = config.ingress.addresses_for_others();
    pb::Hello {
        node_id: config.node.name.clone(),
        // Sorts by time; the rest tells processes of one moment apart.
        boot_id: format!("{boot_ms:012x}-{:016x}", env.seed),
        node_version: env!("CARGO_PKG_VERSION").to_owned(),
        labels,
        zone: config.node.zone.clone(),
        grpc_address: config.grpc.address_for_others(),
        http_api_address: config.http_api.listen.to_string(),
        ingress_addresses: ingress.iter().map(ToString::to_string).collect(),
        subscribe: subscribe.map(|kind| kind as i32).to_vec(),
        schema_version: 1,
        ..pb::Hello::default()
    }
}

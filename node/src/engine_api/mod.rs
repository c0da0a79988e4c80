//! Engines and ports of VPNs as the outside sees and orders them: behind gRPC, the HTTP API and the metrics.

mod describe;
mod mesh;
mod ports;
mod stream;

use tokio::time::Instant;
use weir_core::provision::{Refusal, RefusalCode, VpnFacts, place};
use weir_core::trace::TraceContext;
use weir_engines::driver;
use weir_proto::node::v1 as pb;

use crate::actors::config_agent::ConfigAgentHandle;
use crate::actors::port_cache::{PortCacheHandle, UnknownVpn};
use crate::actors::provision_supervisor::{
    Picture, ProvisionHandle, StopEngine, StopRefused, Wish, Wished, enqueued,
};
use crate::config::Config;
use crate::events::{Events, Limit};
use crate::link::Refused;
use crate::peers::Peers;
use crate::telemetry::spans::{SpanKind, Tracer};
use crate::telemetry::steps::{LIMIT, StepTrace};
use crate::wiring::Wired;

pub use self::describe::refusal;
pub use self::ports::VpnCounts;

/// Lines of an engine that are told unless another number is asked for.
pub const LINES_DEFAULT: usize = 100;
/// Most lines of an engine that are told at a time.
pub const LINES_MAX: usize = 10_000;
/// Why there is a job that somebody asked for.
const ASKED_FOR: &str = "asked for";

/// Engines and ports, for whoever serves them. Cheap to clone.
#[derive(Clone)]
pub struct EngineApi {
    provision: ProvisionHandle,
    port_cache: PortCacheHandle,
    peers: Peers,
    config: ConfigAgentHandle,
    events: Events,
    tracer: Tracer,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This node runs no such engine.
    #[error(transparent)]
    UnknownEngine(#[from] StopRefused),
    /// This node has no such VPN.
    #[error(transparent)]
    UnknownVpn(#[from] UnknownVpn),
    /// An actor did not answer.
    #[error("{actor}: {refused}")]
    Refused {
        /// Which.
        actor: &'static str,
        /// Why.
        refused: Refused,
    },
    /// What runs the engine does not tell what it wrote.
    #[error("logs of engine `{engine}`: {source}")]
    Logs {
        /// Which.
        engine: String,
        /// Why.
        source: driver::Error,
    },
    /// No node that answers runs such an engine.
    #[error("no node that answers runs an engine `{engine}`{}", not_answered(.silent))]
    Nowhere {
        /// Which.
        engine: String,
        /// Nodes that did not answer.
        silent: Vec<String>,
    },
    /// The node that runs the engine did not do it.
    #[error("node `{node}`, which runs it: {why}")]
    Elsewhere {
        /// Which.
        node: String,
        /// Why.
        why: String,
    },
    /// The node that asks the VPN for all was not told.
    #[error("forgotten here; node `{node}`, which asks the VPN for all, was not told: {why}")]
    Owner {
        /// Which.
        node: String,
        /// Why.
        why: String,
    },
}

fn not_answered(nodes: &[String]) -> String {
    match nodes {
        [] => String::new(),
        nodes => format!("; {} did not answer", nodes.join(", ")),
    }
}

impl EngineApi {
    /// What the actors of a node show and take.
    pub fn new(wired: &Wired) -> Self {
        Self {
            provision: wired.provision.clone(),
            port_cache: wired.port_cache.clone(),
            peers: wired.peers.clone(),
            config: wired.config.clone(),
            events: wired.events.clone(),
            tracer: wired.core_parts.tracer.weak(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> std::sync::Arc<Config> {
        std::sync::Arc::clone(&self.config.in_force().config)
    }

    /// What the supervisor shows.
    pub fn picture(&self) -> std::sync::Arc<Picture> {
        self.provision.picture()
    }

    /// Engines of this node.
    pub fn own(&self) -> Vec<pb::Engine> {
        let picture = self.picture();
        let engines = picture.engines.iter();
        engines
            .map(|engine| describe::engine(engine, self.peers.node()))
            .collect()
    }

    /// What keeps this node from starting engines, or from knowing what runs.
    pub(crate) fn own_problems(&self) -> Vec<pb::EngineProblem> {
        let node = self.peers.node();
        let picture = self.picture();
        let problems = picture.problems.iter().map(|what| pb::EngineProblem {
            node: node.to_owned(),
            what: what.clone(),
        });
        problems.collect()
    }

    /// Asks for one more engine of a service; an empty key is a wish of its own. The job's spans are under those of
    /// the caller.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn provision(
        &self,
        service: &str,
        key: &str,
        caller: Option<TraceContext>,
    ) -> Result<Wished, Refusal> {
        let whole = ("Provision", SpanKind::Server);
        let mut trace = StepTrace::begin(&self.tracer, caller, whole, Instant::now());
        trace.note(("weir.service", service.to_owned().into()));
        trace.step("job.enqueue", SpanKind::Producer);
        let wished = self.wish(service, key, trace.context()).await;
        match &wished {
            Ok(wished) => {
                trace.note_step(("weir.job", wished.job_id.clone().into()));
                if !wished.already {
                    let reason = ASKED_FOR.to_owned();
                    enqueued(&self.events, &wished.job_id, &service.into(), reason);
                }
            }
            Err(refusal) => {
                trace.note(("weir.refusal", refusal.code.as_str().into()));
                if let Some(limit) = Limit::of(refusal.code) {
                    trace.note((LIMIT, limit.as_str().into()));
                    let message = refusal.message.clone();
                    self.events.limited(limit, service, "", message);
                }
            }
        }
        trace.finish(wished.as_ref().err().map(ToString::to_string));
        wished
    }

    async fn wish(
        &self,
        service: &str,
        key: &str,
        trace: Option<TraceContext>,
    ) -> Result<Wished, Refusal> {
        self.check_vpns(service)?;
        let key = match key {
            "" => format!("wish:{:032x}", fastrand::u128(..)),
            key => key.to_owned(),
        };
        let wish = Wish {
            service: service.into(),
            key,
            reason: ASKED_FOR.to_owned(),
            engines_wanted: None,
            trace,
        };
        self.provision.provision(wish).await
    }

    /// A job for a service none of whose VPNs is up would wait for nobody knows how long.
    fn check_vpns(&self, service: &str) -> Result<(), Refusal> {
        let in_force = self.config.in_force();
        let services = &in_force.config.services;
        let service = services.iter().find(|known| known.name.as_str() == service);
        let engines = service.and_then(|service| service.engines.as_ref());
        let vpns = engines.map_or(&[][..], |engines| &engines.launch.vpns);
        let facts = vpns.iter().filter_map(|name| {
            Some(VpnFacts {
                name: name.as_str().into(),
                state: self.port_cache.vpn(name)?.state,
                engines: 0,
                pending: 0,
                has_leader: false,
                has_port: false,
            })
        });
        let facts: Vec<VpnFacts> = facts.collect();
        match place(&facts, usize::MAX) {
            Err(refusal) if !vpns.is_empty() && refusal.code == RefusalCode::VpnDisconnected => {
                Err(refusal)
            }
            _ => Ok(()),
        }
    }

    /// Takes an engine of this node out of traffic and stops it; `now` cuts what runs on it.
    ///
    /// # Errors
    /// [`Error::UnknownEngine`] when this node runs no such engine; [`Error::Refused`].
    pub async fn stop(&self, engine: &str, now: bool) -> Result<(), Error> {
        let stop = StopEngine {
            engine: engine.to_owned(),
            now,
            reason: "told to stop".to_owned(),
        };
        let stopped = self.provision.stop(stop).await;
        let stopped = stopped.map_err(|refused| Error::Refused {
            actor: "provision supervisor",
            refused,
        })?;
        Ok(stopped?)
    }

    /// The last lines that an engine of this node wrote, [`LINES_DEFAULT`] for 0.
    ///
    /// # Errors
    /// [`Error::UnknownEngine`] when this node runs no such engine; [`Error::Logs`].
    pub async fn logs(&self, engine: &str, lines_max: usize) -> Result<Vec<String>, Error> {
        let lines_max = match lines_max {
            0 => LINES_DEFAULT,
            lines_max => lines_max,
        };
        let lines = self.provision.logs(engine, lines_max).await;
        lines.map_err(|source| match source {
            driver::Error::Unknown(_) => StopRefused::Unknown(engine.to_owned()).into(),
            source => Error::Logs {
                engine: engine.to_owned(),
                source,
            },
        })
    }

    /// Whether engines can be provisioned here, and how many each service has.
    pub fn provisioning(&self) -> pb::Provisioning {
        describe::provisioning(&self.picture())
    }
}

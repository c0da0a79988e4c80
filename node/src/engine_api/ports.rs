//! Ports of VPNs.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use weir_core::trace::TraceContext;
use weir_proto::node::v1 as pb;

use super::describe::{self, Behind};
use super::{EngineApi, Error};
use crate::actors::port_cache::{Table, UnknownVpn, VpnView};
use crate::telemetry::spans::SpanKind;
use crate::telemetry::steps::{PORT_CACHE, StepTrace};

/// For the node that asks a VPN to take an invalidation.
const OWNER_TIMEOUT: Duration = Duration::from_secs(2);

/// How a VPN is, for metrics.
#[derive(Debug)]
pub struct VpnCounts {
    /// Its name.
    pub name: String,
    /// It is up, for however long.
    pub is_up: bool,
    /// What happened to what is known of its port.
    pub counters: pb::PortCounters,
}

impl EngineApi {
    /// How each VPN of this node is, by name.
    pub fn vpn_counts(&self) -> Vec<VpnCounts> {
        let table = self.table();
        let counts = table.iter().map(|view| VpnCounts {
            name: view.name.clone(),
            is_up: view.health.is_up(),
            counters: describe::counters(view),
        });
        counts.collect()
    }

    /// What is known of every VPN of this node.
    pub(super) fn table(&self) -> std::sync::Arc<Table> {
        self.port_cache.table()
    }

    /// Every VPN of this node, by name.
    pub fn ports(&self) -> pb::ListPortsResponse {
        let table = self.table();
        pb::ListPortsResponse {
            ports: table
                .iter()
                .map(|view| self.described(&table, view))
                .collect(),
            node: self.peers.node().to_owned(),
        }
    }

    /// One VPN; its control server is asked, and waited for, when nothing usable is known.
    ///
    /// # Errors
    /// [`Error::UnknownVpn`].
    pub async fn port(
        &self,
        vpn: &str,
        caller: Option<TraceContext>,
    ) -> Result<pb::VpnPort, Error> {
        let whole = ("GetPort", SpanKind::Server);
        let mut trace = StepTrace::begin(&self.tracer, caller, whole, Instant::now());
        trace.note(("weir.vpn", vpn.to_owned().into()));
        let found = self.port_cache.look_up(vpn).await;
        if let Ok(found) = &found {
            trace.note((PORT_CACHE, found.how.as_str().into()));
        }
        trace.finish(found.as_ref().err().map(ToString::to_string));
        found?;
        // What it says is in the table by then, with everything around it.
        self.known(vpn)
    }

    /// What is known of one VPN.
    ///
    /// # Errors
    /// [`Error::UnknownVpn`].
    pub fn known(&self, vpn: &str) -> Result<pb::VpnPort, Error> {
        let table = self.table();
        let view = table.vpn(vpn).ok_or_else(|| UnknownVpn(vpn.to_owned()))?;
        Ok(self.described(&table, view))
    }

    /// Forgets the port of a VPN, so that it is asked for anew; tells the node that asks for all, unless `told` by one.
    ///
    /// # Errors
    /// [`Error::UnknownVpn`]; [`Error::Refused`]; [`Error::Owner`] when that other node was not told.
    pub async fn invalidate(&self, vpn: &str, told: bool) -> Result<pb::VpnPort, Error> {
        let forgotten = self.port_cache.invalidate(vpn).await;
        forgotten.map_err(|refused| Error::Refused {
            actor: "port cache",
            refused,
        })??;
        let port = self.known(vpn)?;
        if !told && !port.owner.is_empty() && port.owner != self.peers.node() {
            let at = Instant::now();
            let telling = self.tell_owner(&port.owner, vpn);
            let told = timeout(OWNER_TIMEOUT, telling).await;
            let told = told.unwrap_or_else(|_| {
                self.peers.is_silent(&port.owner);
                Err("no answer in time".to_owned())
            });
            let told = told.map_err(|why| Error::Owner {
                node: port.owner.clone(),
                why,
            })?;
            let confirmed = self.port_cache.confirm(&port.owner, told, at).await;
            confirmed.map_err(|refused| Error::Refused {
                actor: "port cache",
                refused,
            })?;
            return self.known(vpn);
        }
        Ok(port)
    }

    async fn tell_owner(&self, node: &str, vpn: &str) -> Result<pb::VpnPort, String> {
        let mut client = self.peers.engines_at(node)?;
        let request = pb::InvalidatePortRequest {
            vpn: vpn.to_owned(),
            told: true,
        };
        let told = client.invalidate(request).await;
        told.map(tonic::Response::into_inner)
            .map_err(|status| status.message().to_owned())
    }

    fn described(&self, table: &Table, view: &VpnView) -> pb::VpnPort {
        describe::port(
            view,
            table.limits().ttl,
            Instant::now(),
            self.behind(&view.name),
        )
    }

    /// Engines behind a VPN on every node.
    fn behind(&self, vpn: &str) -> Behind {
        let picture = self.picture();
        let own = picture.engines.iter();
        let own = own
            .filter(|engine| engine.vpn.as_deref() == Some(vpn))
            .map(|engine| (engine.id.clone(), engine.is_forwarded));
        let in_force = self.config.in_force();
        let registered = in_force.config.given().endpoints.values().flatten();
        let others = registered.filter_map(|(id, backend)| {
            let facts = backend.engine.as_ref()?;
            let is_other = facts.node != self.peers.node() && facts.vpn.as_deref() == Some(vpn);
            is_other.then(|| (id.to_string(), facts.is_forwarded))
        });
        let mut behind = Behind::default();
        for (id, is_forwarded) in own.chain(others) {
            behind.engines += 1;
            if is_forwarded {
                behind.forwarded = id;
            }
        }
        behind
    }
}

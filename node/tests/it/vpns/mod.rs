//! VPNs: every node knows the port that each one forwards, and one engine of each listens on it.

pub mod engines;
mod lives;
mod mesh;
mod port;
mod renewal;
mod two;

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tonic::transport::{Channel, Endpoint};
use weir_fakes::gluetun::{FakeGluetun, Listen, Settings};
use weir_proto::node::v1::port_cache_client::PortCacheClient;
use weir_proto::node::v1::provision_client::ProvisionClient;
use weir_proto::node::v1::{Engine, GetPortRequest, ListEnginesRequest, ListPortsRequest, VpnPort};

use crate::common::Weir;

const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The route that the newer versions tell ports at.
const PORT_ROUTE: &str = "GET /v1/portforward";
/// The route that each look at a VPN's health asks at.
const HEALTH_ROUTE: &str = "GET /v1/publicip/ip";
/// Times so short that a test sees them pass.
pub const FAST: &str = "[port_cache]\nttl = \"2s\"\nrefresh_lead = \"500ms\"\nnegative_ttl = \"200ms\"\n\
                    request_timeout = \"500ms\"\nhealth_interval = \"200ms\"\n";

/// Of [`FAST`].
const FAST_HEALTH_INTERVAL: Duration = Duration::from_millis(200);

/// An emulator with these settings.
pub fn gluetun(settings: &[(&str, &str)]) -> FakeGluetun {
    let mut all = Settings::default();
    for (name, value) in settings {
        all.set(name, value).unwrap();
    }
    FakeGluetun::start(&Listen::default(), all).unwrap()
}

/// The section of a VPN with these further keys.
pub fn vpn(name: &str, gluetun: &FakeGluetun, keys: &str) -> String {
    format!(
        "[vpns.{name}]\ncontrol_url = \"http://{}\"\n{keys}\n",
        gluetun.control()
    )
}

impl Weir {
    fn channel(&self) -> Channel {
        let uri = format!("http://{}", self.grpc);
        Endpoint::from_shared(uri).unwrap().connect_lazy()
    }

    /// What a look-up gets.
    async fn port(&self, vpn: &str) -> VpnPort {
        let request = GetPortRequest {
            vpn: vpn.to_owned(),
        };
        let got = PortCacheClient::new(self.channel()).get_port(request).await;
        got.unwrap().into_inner()
    }

    /// What is known of every VPN.
    async fn ports(&self) -> Vec<VpnPort> {
        let mut client = PortCacheClient::new(self.channel());
        let listed = client.list_ports(ListPortsRequest {}).await;
        listed.unwrap().into_inner().ports
    }

    /// Looks until this is known of a VPN.
    pub async fn knows(&self, vpn: &str, what: &str, is_so: impl Fn(&VpnPort) -> bool) -> VpnPort {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ports = self.ports().await;
            let port = ports.into_iter().find(|port| port.vpn == vpn).unwrap();
            if is_so(&port) {
                return port;
            }
            let is_late = Instant::now() >= deadline;
            assert!(!is_late, "not so: {what}: {port:#?}\n{}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Engines of this node.
    async fn engines(&self) -> Vec<Engine> {
        let mut client = ProvisionClient::new(self.channel());
        let listed = client
            .list_engines(ListEnginesRequest { mesh: false })
            .await;
        listed.unwrap().into_inner().engines
    }

    /// Looks until this is so of the engines of this node.
    pub async fn runs(&self, what: &str, mut is_so: impl FnMut(&[Engine]) -> bool) -> Vec<Engine> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let engines = self.engines().await;
            if is_so(&engines) {
                return engines;
            }
            let is_late = Instant::now() >= deadline;
            assert!(!is_late, "not so: {what}: {engines:#?}\n{}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until the control server was looked at so many times more.
    pub async fn asks_health(&self, gluetun: &FakeGluetun, times: u64) {
        let enough = gluetun.calls(HEALTH_ROUTE) + times;
        let deadline = Instant::now() + PATIENCE;
        while gluetun.calls(HEALTH_ROUTE) < enough {
            assert!(Instant::now() < deadline, "not asked: {}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits until the control server was asked for its port so many times more.
    async fn asks(&self, gluetun: &FakeGluetun, times: u64) {
        let enough = gluetun.calls(PORT_ROUTE) + times;
        let deadline = Instant::now() + PATIENCE;
        while gluetun.calls(PORT_ROUTE) < enough {
            assert!(Instant::now() < deadline, "not asked: {}", self.log());
            sleep(LOOK_INTERVAL).await;
        }
    }
}

//! Ports that jobs get: free ones of a pool, and what is told when none is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::time::Duration;

use tokio::time::Instant;
use weir_core::ids::ServiceName;
use weir_core::provision::{PoolName, PortPool, Refusal, RefusalCode};

use super::{Holder, ProvisionSupervisor, Reservations, pool_of};

/// Ports of this machine that are tried for one that nothing listens on.
const PORTS_TRIED: usize = 64;
/// How long a port that turned out to be somebody else's is left alone.
const ELSEWHERE_FOR: Duration = Duration::from_secs(60);

impl Reservations {
    /// The port of a job turned out to be somebody else's.
    pub(super) fn not_ours(&mut self, holder: &Holder, pool: &PoolName, now: Instant) {
        let port = self.ports.pool(pool).and_then(|pool| pool.port_of(holder));
        self.ports.release(holder);
        if let Some(port) = port {
            self.elsewhere += 1;
            let stranger = Holder::Elsewhere(self.elsewhere, now + ELSEWHERE_FOR);
            drop(self.ports.adopt(pool.clone(), stranger, port));
        }
    }

    /// Further ports of a job; another one for each of these that turned out to be somebody else's.
    pub(super) fn extra_ports(
        &mut self,
        (job, names): (&str, &[String]),
        others: &BTreeSet<u16>,
        (pool, now): (&PoolName, Instant),
    ) -> Result<BTreeMap<String, u16>, Refusal> {
        let mut ports = BTreeMap::new();
        for name in names {
            let holder = Holder::JobAlso(job.to_owned(), name.clone());
            let before = self.ports.pool(pool).and_then(|pool| pool.port_of(&holder));
            if before.is_some_and(|port| others.contains(&port)) {
                self.not_ours(&holder, pool, now);
            }
            ports.insert(name.clone(), self.port(&holder, pool, now)?);
        }
        Ok(ports)
    }

    /// The port of this holder, or one that is free.
    pub(super) fn port(
        &mut self,
        holder: &Holder,
        pool: &PoolName,
        now: Instant,
    ) -> Result<u16, Refusal> {
        for _ in 0..PORTS_TRIED {
            let Some(port) = self.ports.reserve(pool, holder.clone()) else {
                break;
            };
            // Behind a VPN it is a port of another network.
            if *pool != PoolName::Host || is_free(port) {
                return Ok(port);
            }
            self.not_ours(holder, pool, now);
        }
        Err(self.no_port(pool, now))
    }

    /// Ports of others may be free again when it is not believed any more that they have them.
    fn no_port(&self, pool: &PoolName, now: Instant) -> Refusal {
        let message = format!("no port of {} is free", pool_text(pool));
        let refusal = Refusal::new(RefusalCode::NoPortFree, message);
        let holders = self
            .ports
            .pool(pool)
            .into_iter()
            .flat_map(PortPool::holders);
        let ends = holders.filter_map(|holder| match holder {
            Holder::Elsewhere(_, until) => Some(*until),
            _ => None,
        });
        match ends.min() {
            // In whole seconds: what is shown changes no more often.
            Some(end) => {
                let left = end
                    .saturating_duration_since(now)
                    .as_millis()
                    .div_ceil(1_000);
                refusal.with_eta(Duration::from_secs(u64::try_from(left).unwrap_or(u64::MAX)))
            }
            None => refusal,
        }
    }
}

impl ProvisionSupervisor {
    /// Why a service that may have more engines can have none here, if its ports are in use.
    pub(in super::super) fn no_port(&self, service: &ServiceName) -> Option<Refusal> {
        let launch = &self.plan.services.get(service)?.settings.launch;
        self.free_slots(service, 0).ok()?;
        let vpns = launch.vpns.iter().map(|vpn| pool_of(Some(vpn)));
        let pools: Vec<PoolName> = match launch.vpns.is_empty() {
            true => vec![PoolName::Host],
            false => vpns.collect(),
        };
        let needed = 1 + launch.extra_ports.len();
        let is_full = |pool: &PoolName| {
            let pool = self.reservations.ports.pool(pool);
            pool.is_none_or(|pool| pool.free() < needed)
        };
        let (first, now) = (pools.first()?, Instant::now());
        let is_full = pools.iter().all(is_full);
        is_full.then(|| self.reservations.no_port(first, now))
    }
}

fn pool_text(pool: &PoolName) -> String {
    match pool {
        PoolName::Host => "this machine".to_owned(),
        PoolName::Vpn(vpn) => format!("VPN `{vpn}`"),
    }
}

/// Whether nothing on this machine listens there.
fn is_free(port: u16) -> bool {
    TcpListener::bind(("0.0.0.0", port)).is_ok()
}

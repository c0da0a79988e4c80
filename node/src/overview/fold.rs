//! Makes one overview of what several nodes tell. Decides nothing else, and waits for nobody.

use std::collections::BTreeMap;

use weir_proto::node::v1 as pb;

/// What an overview holds at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Nodes.
    pub(super) nodes: usize,
    /// Backends over all services.
    pub(super) backends: usize,
    /// How backends that get new work stand on nodes; as many more for others.
    pub(super) standings: usize,
    /// Events over all nodes.
    pub(super) events: usize,
    /// Engines.
    pub(super) engines: usize,
    /// VPNs.
    pub(super) ports: usize,
    /// Services in the statuses of all nodes.
    pub(super) statuses: usize,
}

/// Those of every answer.
pub(super) const BOUNDS: Bounds = Bounds {
    nodes: 256,
    backends: 2_000,
    standings: 16_000,
    events: 200,
    engines: 2_000,
    ports: 256,
    statuses: 10_000,
};

/// An overview in the making.
#[derive(Debug)]
pub(super) struct Fold {
    bounds: Bounds,
    nodes: BTreeMap<String, pb::NodeOverview>,
    services: BTreeMap<String, Service>,
    engines: BTreeMap<String, pb::Engine>,
    ports: BTreeMap<String, pb::VpnPort>,
    /// Standings of backends that get new work, and of others.
    standings: [usize; 2],
    statuses: usize,
    cut: pb::Cut,
}

#[derive(Debug)]
struct Service {
    /// Without its backends.
    whole: pb::ServiceOverview,
    failures: f64,
    backends: BTreeMap<String, Backend>,
}

#[derive(Debug)]
struct Backend {
    told: pb::BackendOverview,
    /// Some node gives it new work.
    takes_work: bool,
    /// Some node does not.
    is_out: bool,
}

impl Fold {
    /// Of no node yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            engines: BTreeMap::new(),
            ports: BTreeMap::new(),
            standings: [0; 2],
            statuses: 0,
            cut: pb::Cut::default(),
        }
    }

    /// Adds what a node tells of itself. What is left out when there is too much depends on the order of nodes.
    pub(super) fn add(&mut self, told: pb::OverviewAnswer) {
        let pb::OverviewAnswer {
            node,
            nodes,
            services,
            engines,
            ports,
            cut,
            ..
        } = told;
        let Some(mut of_node) = nodes.into_iter().next() else {
            return;
        };
        if self.nodes.len() == self.bounds.nodes && !self.nodes.contains_key(&node) {
            self.cut.nodes += 1;
            return;
        }
        if let Some(status) = &mut of_node.status {
            self.statuses += status.services.len();
            if self.statuses > self.bounds.statuses {
                status.services.clear();
            }
        }
        for service in services {
            self.add_service(service);
        }
        for engine in engines {
            if self.engines.len() < self.bounds.engines || self.engines.contains_key(&engine.id) {
                self.engines.insert(engine.id.clone(), engine);
            } else {
                self.cut.engines += 1;
            }
        }
        for port in ports {
            self.add_port(port, &node);
        }
        if let Some(cut) = cut {
            self.cut.engines += cut.engines;
            self.cut.ports = self.cut.ports.max(cut.ports);
            self.cut.backends = self.cut.backends.max(cut.backends);
        }
        self.nodes.insert(node, of_node);
    }

    fn add_service(&mut self, told: pb::ServiceOverview) {
        let failures = (1.0 - told.success_rate) * as_f64(told.requests);
        let whole = pb::ServiceOverview {
            backends: Vec::new(),
            ..told.clone()
        };
        let service = self
            .services
            .entry(told.name)
            .and_modify(|known| {
                known.whole.panic |= told.panic;
                known.whole.asleep &= told.asleep;
                known.whole.waiting += told.waiting;
                known.whole.requests += told.requests;
                known.failures += failures;
            })
            .or_insert_with(|| Service {
                whole,
                failures,
                backends: BTreeMap::new(),
            });
        for backend in told.backends {
            let known = service.backends.entry(backend.id.clone());
            let known = known.or_insert_with(|| Backend {
                told: pb::BackendOverview {
                    nodes: Vec::new(),
                    in_flight: 0,
                    requests: 0,
                    failures: 0,
                    ..backend.clone()
                },
                takes_work: false,
                is_out: false,
            });
            known.told.in_flight += backend.in_flight;
            known.told.requests += backend.requests;
            known.told.failures += backend.failures;
            for standing in backend.nodes {
                let takes_work = takes_work(standing.standing());
                known.takes_work |= takes_work;
                known.is_out |= !takes_work;
                let count = &mut self.standings[usize::from(!takes_work)];
                if *count < self.bounds.standings {
                    *count += 1;
                    known.told.nodes.push(standing);
                } else {
                    self.cut.standings += 1;
                }
            }
        }
    }

    /// Whoever asks a VPN for all knows it best.
    fn add_port(&mut self, port: pb::VpnPort, node: &str) {
        let is_full = self.ports.len() >= self.bounds.ports;
        match self.ports.get_mut(&port.vpn) {
            Some(known) if port.owner == node => *known = port,
            Some(_) => {}
            None if is_full => self.cut.ports += 1,
            None => _ = self.ports.insert(port.vpn.clone(), port),
        }
    }

    /// The overview, without what is told of all nodes together.
    pub(super) fn finish(mut self, node: &str, at_unix_ms: u64) -> pb::OverviewAnswer {
        self.cut_events();
        let mut kept = self.kept_backends();
        let services = self.services.into_values();
        pb::OverviewAnswer {
            node: node.to_owned(),
            at_unix_ms,
            nodes: self.nodes.into_values().collect(),
            services: services.map(|service| service.finish(&mut kept)).collect(),
            engines: self.engines.into_values().collect(),
            ports: self.ports.into_values().collect(),
            cut: Some(self.cut),
            ..pb::OverviewAnswer::default()
        }
    }

    /// Leaves out the oldest events of too many.
    fn cut_events(&mut self) {
        let events = self.nodes.values().flat_map(|node| &node.events);
        let mut times: Vec<u64> = events.map(|event| event.at_unix_ms).collect();
        let Some(over) = times.len().checked_sub(self.bounds.events) else {
            return;
        };
        times.sort_unstable();
        let Some(oldest_told) = times.get(over).copied() else {
            return self.nodes.values_mut().for_each(|node| node.events.clear());
        };
        // Of those that are as old as the oldest one that is told, as many go as are too many.
        let older = times.partition_point(|at| *at < oldest_told);
        let mut as_old = over - older;
        for node in self.nodes.values_mut() {
            node.events.retain(|event| {
                let goes = event.at_unix_ms == oldest_told && as_old > 0;
                as_old -= usize::from(goes);
                event.at_unix_ms >= oldest_told && !goes
            });
        }
        self.cut.events += over as u64;
    }

    /// How many backends are told that are out on some node, and how many others.
    fn kept_backends(&mut self) -> [usize; 2] {
        let services = self.services.values();
        let backends = services.flat_map(|service| service.backends.values());
        let (mut out, mut others) = (0, 0);
        for backend in backends {
            *(if backend.is_out {
                &mut out
            } else {
                &mut others
            }) += 1;
        }
        let told = [out.min(self.bounds.backends), others];
        let told = [told[0], told[1].min(self.bounds.backends - told[0])];
        self.cut.backends += (out + others - told[0] - told[1]) as u64;
        told
    }
}

impl Service {
    /// The service with as many backends as are `kept`, of those that are out on some node and of others.
    fn finish(self, kept: &mut [usize; 2]) -> pb::ServiceOverview {
        let healthy = self.backends.values().filter(|one| one.takes_work).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut whole = pb::ServiceOverview {
            healthy: count(healthy),
            total: count(self.backends.len()),
            ..self.whole
        };
        whole.success_rate = match whole.requests {
            0 => 1.0,
            requests => 1.0 - self.failures / as_f64(requests),
        };
        for backend in self.backends.into_values() {
            let left = &mut kept[usize::from(!backend.is_out)];
            if *left > 0 {
                *left -= 1;
                let mut told = backend.told;
                told.nodes.sort_by(|one, other| one.node.cmp(&other.node));
                whole.backends.push(told);
            }
        }
        whole
    }
}

fn takes_work(standing: pb::Standing) -> bool {
    matches!(standing, pb::Standing::In | pb::Standing::SlowStart)
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

//! What the supervisor is configured with.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::ids::ServiceName;

use crate::config::{Config, EngineSettings, Protocol, ProvisionSettings, VpnSettings};

/// The supervisor's part of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Services that have engines.
    pub services: BTreeMap<ServiceName, Arc<EnginePlan>>,
    /// VPNs by name.
    pub vpns: BTreeMap<String, VpnSettings>,
    /// The limits of this node.
    pub limits: ProvisionSettings,
}

/// The engines of one service.
#[derive(Clone, Debug, PartialEq)]
pub struct EnginePlan {
    /// Which service.
    pub service: ServiceName,
    /// What its engines speak.
    pub protocol: Protocol,
    /// How they are started, counted and cared for.
    pub settings: EngineSettings,
}

impl Plan {
    /// The part of `config`.
    pub fn of(config: &Config) -> Self {
        let services = config.services.iter().filter_map(|service| {
            let plan = EnginePlan {
                service: service.name.clone(),
                protocol: service.protocol,
                settings: service.engines.clone()?,
            };
            Some((service.name.clone(), Arc::new(plan)))
        });
        let vpns = config
            .vpns
            .iter()
            .map(|vpn| (vpn.name.clone(), vpn.clone()));
        Self {
            services: services.collect(),
            vpns: vpns.collect(),
            limits: config.provision.clone(),
        }
    }
}

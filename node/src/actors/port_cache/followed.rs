//! What the node that asks a VPN tells of it, and what is new in that.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir_core::port_cache::{Failure, Good, Latest, Origin, Picture, Port};
use weir_core::vpn::State;
use weir_proto::node::v1::{ListPortsResponse, PortPicture, VpnPort};

use crate::actors::provision_supervisor::VpnEvent;
use crate::peers::Heard;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Followed {
    last: Option<Told>,
    health: State,
    settled: Option<Port>,
    /// The VPN's container, by id and start.
    container: Option<(String, u64)>,
    /// Ports take turns, until then at least.
    calm_at: Option<Instant>,
}

/// What another node told of a VPN.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) origin: Origin,
    pub(super) picture: Picture,
    pub(super) public_ip: Option<String>,
    settled: Option<Port>,
    calm_in: Option<Duration>,
    health: State,
    container: Option<(String, u64)>,
    alarms: Vec<String>,
    message: Arc<ListPortsResponse>,
}

/// Something told that was not known.
pub(super) struct News {
    pub(super) told: Told,
    pub(super) events: Vec<VpnEvent>,
}

impl Told {
    /// What `node` told of `vpn`; `None` when it did not.
    pub(super) fn of(heard: &Heard, node: &str, vpn: &str) -> Option<Self> {
        let (_, message) = heard.get(node)?;
        let port = message.ports.iter().find(|port| port.vpn == vpn)?;
        let wire = port.picture.as_ref()?;
        let (origin, picture) = told_by(node, port)?;
        Some(Self {
            origin,
            picture,
            public_ip: Some(port.public_ip.clone()).filter(|ip| !ip.is_empty()),
            settled: port_of(wire.settled_port),
            calm_in: (wire.calm_in_ms > 0).then_some(Duration::from_millis(wire.calm_in_ms)),
            health: health(&port.health),
            container: (!wire.container_id.is_empty())
                .then(|| (wire.container_id.clone(), wire.container_started_unix_ms)),
            alarms: port.alarms.clone(),
            message: Arc::clone(message),
        })
    }
}

/// What `node` says of a port, and as which entry.
pub(super) fn told_by(node: &str, port: &VpnPort) -> Option<(Origin, Picture)> {
    let wire = port.picture.as_ref()?;
    let origin = Origin {
        node: node.to_owned(),
        incarnation: wire.incarnation,
    };
    Some((origin, picture(port, wire)))
}

impl Followed {
    /// What goes on until somebody tells something else.
    pub(super) fn after(
        health: State,
        settled: Option<Port>,
        container: Option<(String, u64)>,
    ) -> Self {
        Self {
            last: None,
            health,
            settled,
            container,
            calm_at: None,
        }
    }

    /// Takes what was told; `None` when it is the message that was taken before.
    pub(super) fn take(&mut self, told: Told, now: Instant) -> Option<News> {
        let before = self.last.replace(told.clone());
        if before
            .as_ref()
            .is_some_and(|before| Arc::ptr_eq(&before.message, &told.message))
        {
            return None;
        }
        let events = self.events(&told);
        (self.health, self.settled) = (told.health, told.settled);
        if told.container.is_some() {
            self.container.clone_from(&told.container);
        }
        self.calm_at = told.calm_in.map(|calm_in| now + calm_in);
        Some(News { told, events })
    }

    pub(super) const fn health(&self) -> State {
        self.health
    }

    pub(super) const fn settled(&self) -> Option<Port> {
        self.settled
    }

    pub(super) const fn container(&self) -> Option<&(String, u64)> {
        self.container.as_ref()
    }

    pub(super) const fn calm_at(&self) -> Option<Instant> {
        self.calm_at
    }

    pub(super) fn alarms(&self) -> &[String] {
        self.last.as_ref().map_or(&[], |told| &told.alarms)
    }

    /// What happened since the telling before.
    fn events(&self, now: &Told) -> Vec<VpnEvent> {
        let was_out = !self.health.is_steady() && self.health != State::Unknown;
        match was_out && now.health.is_steady() {
            true => vec![VpnEvent::Stable],
            false => Vec::new(),
        }
    }
}

fn picture(port: &VpnPort, wire: &PortPicture) -> Picture {
    let ms = Duration::from_millis;
    let reading = match port.state.as_str() {
        "ready" => Some(Ok(port_of(wire.port))),
        "not_ready" => Some(Ok(None)),
        "auth_required" => Some(Err(Failure::AuthRequired)),
        "unsupported" => Some(Err(Failure::Unsupported)),
        "unreachable" => Some(Err(Failure::Unreachable)),
        _ => None,
    };
    let latest = reading
        .zip(wire.asked_age_ms)
        .map(|(reading, asked_age)| Latest {
            reading,
            asked_age: ms(asked_age),
            told_age: ms(wire.told_age_ms),
        });
    let fallback = port_of(wire.fallback_port).map(|port| Good {
        port,
        age: ms(wire.fallback_age_ms),
    });
    Picture {
        epoch: port.epoch,
        latest,
        fallback,
    }
}

fn port_of(number: u32) -> Option<Port> {
    u16::try_from(number).ok().and_then(NonZeroU16::new)
}

fn health(name: &str) -> State {
    match name {
        "healthy" => State::Healthy,
        "stable" => State::Stable,
        "unhealthy" => State::Unhealthy,
        // How far it is does not matter to others.
        "recovering" => State::Recovering { good: 0, needed: 1 },
        _ => State::Unknown,
    }
}

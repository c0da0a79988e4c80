//! What Docker says of a container, in the words of a driver.

use bollard::models::{
    ContainerInspectResponse, ContainerState, ContainerStateStatusEnum, HealthStatusEnum,
};

use super::{labels, moments};
use crate::containers::{Container, Health};
use crate::driver::{Running, State};

/// A container that has a name which we asked for.
#[derive(Debug)]
pub(super) enum Seen {
    /// It carries no labels of ours.
    Foreign,
    /// An engine of ours.
    Engine(Box<Engine>),
}

/// An engine of ours.
#[derive(Debug)]
pub(super) struct Engine {
    /// Its container.
    pub(super) id: String,
    /// What it is.
    pub(super) running: Running,
    /// Docker is taking it away, or failed to.
    pub(super) going: bool,
    /// The name of the image that it was made from.
    pub(super) image: String,
}

impl Seen {
    /// The engine, if it is one of ours.
    pub(super) fn engine(self) -> Option<Engine> {
        match self {
            Self::Engine(engine) => Some(*engine),
            Self::Foreign => None,
        }
    }
}

/// Of `owner`'s view of a container; `None` when Docker told too little to know one.
pub(super) fn seen(found: ContainerInspectResponse, owner: &str) -> Option<Seen> {
    let id = found.id?;
    let config = found.config.unwrap_or_default();
    let carried = config.labels.unwrap_or_default();
    let Some(fence) = labels::fence(&carried, owner) else {
        return Some(Seen::Foreign);
    };
    let state = found.state.unwrap_or_default();
    let joined = found.host_config.and_then(|host| host.network_mode);
    let running = Running {
        name: found.name?.trim_start_matches('/').to_owned(),
        fence,
        labels: labels::given(carried),
        state: state_of(&state),
        pid: state
            .pid
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| *pid > 0),
        container_id: Some(id.clone()),
        image: config.image.clone(),
        command: config.cmd.unwrap_or_default(),
        image_digest: found.image,
        network_container_id: joined
            .and_then(|mode| mode.strip_prefix("container:").map(str::to_owned)),
        started_unix_ms: started_unix_ms(&state),
    };
    let going = matches!(
        state.status,
        Some(ContainerStateStatusEnum::REMOVING | ContainerStateStatusEnum::DEAD)
    );
    Some(Seen::Engine(Box::new(Engine {
        id,
        running,
        going,
        image: config.image.unwrap_or_default(),
    })))
}

pub(super) fn container(found: ContainerInspectResponse) -> Option<Container> {
    let state = found.state.unwrap_or_default();
    Some(Container {
        id: found.id?,
        started_unix_ms: started_unix_ms(&state),
        running: state.running.unwrap_or(false),
        health: match state.health.and_then(|health| health.status) {
            Some(HealthStatusEnum::STARTING) => Health::Starting,
            Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
            Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
            Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) | None => Health::None,
        },
    })
}

fn started_unix_ms(state: &ContainerState) -> u64 {
    state
        .started_at
        .as_deref()
        .and_then(moments::unix_ms)
        .unwrap_or(0)
}

fn state_of(state: &ContainerState) -> State {
    if state.running.unwrap_or(false) {
        return State::Running;
    }
    match state.status {
        Some(ContainerStateStatusEnum::CREATED) => State::Starting,
        _ => State::Ended(state.exit_code.unwrap_or(-1)),
    }
}

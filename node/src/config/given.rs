//! What a node is given beside its file: by the control plane, and by those of its own actors that start backends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_core::ids::{BackendId, ServiceName};
use weir_core::tuning::{Code, Problem, Profile};

use super::services::{
    BackendSettings, ID_BYTES_MAX, PRIORITY_MAX, ServiceSettings, WEIGHT_MAX, ZONE_BYTES_MAX,
};

/// Backends of one service, with those that registered themselves.
const BACKENDS_MAX: usize = 10_000;
/// Notes on one kind of thing; more would say the same.
const NOTES_MAX: usize = 100;
/// Characters of a value in a note.
const SHOWN_CHARS_MAX: usize = 80;

/// Shares of new work, by service and backend.
pub type Weights = BTreeMap<ServiceName, BTreeMap<BackendId, u32>>;
/// Backends that registered themselves, by service and id.
pub type Endpoints = BTreeMap<ServiceName, BTreeMap<BackendId, RegisteredBackend>>;

/// Everything that is given. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Knobs of this node.
    pub profile: Arc<Profile>,
    /// Weights that replace configured ones.
    pub weights: Arc<Weights>,
    /// Engines that this node runs, beside the backends of the file.
    pub engines: Arc<Endpoints>,
    /// Backends beside those.
    pub endpoints: Arc<Endpoints>,
}

/// A backend that registered itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredBackend {
    /// `host:port`, as it was registered.
    pub address: String,
    /// Share of new work; 0 gives none.
    pub weight: u32,
    /// Where it stands.
    pub zone: String,
    /// Lower numbers are used first.
    pub priority: u32,
    /// Who runs it, when it is an engine.
    pub engine: Option<EngineFacts>,
}

/// What the registration of an engine says beside its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// The node that runs it.
    pub node: String,
    /// The VPN that it is behind.
    pub vpn: Option<String>,
    /// It has the VPN's forwarded port.
    pub is_forwarded: bool,
}

impl EngineFacts {
    /// The label that names the node.
    pub const NODE: &str = "weir.node";
    /// The label that names the VPN.
    pub const VPN: &str = "weir.vpn";
    /// The label that says `true` of an engine with the forwarded port.
    pub const FORWARDED: &str = "weir.forwarded";

    /// What labels tell; `None` of a backend that is no engine.
    pub fn of(labels: &BTreeMap<String, String>) -> Option<Self> {
        Some(Self {
            node: labels.get(Self::NODE)?.clone(),
            vpn: labels.get(Self::VPN).cloned(),
            is_forwarded: labels
                .get(Self::FORWARDED)
                .is_some_and(|text| text == "true"),
        })
    }

    /// As labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (Self::NODE.to_owned(), self.node.clone()),
            (Self::FORWARDED.to_owned(), self.is_forwarded.to_string()),
        ]);
        labels.extend(self.vpn.clone().map(|vpn| (Self::VPN.to_owned(), vpn)));
        labels
    }
}

/// One thing that is given anew; it replaces what was given of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Give {
    /// Knobs.
    Profile(Profile),
    /// Weights.
    Weights(Weights),
    /// Registered backends.
    Endpoints(Endpoints),
    /// Engines of this node; the provision supervisor gives them, not the control plane.
    Engines(Endpoints),
}

impl Given {
    /// True when nothing is given.
    pub fn is_empty(&self) -> bool {
        self.profile.is_empty()
            && self.weights.is_empty()
            && self.endpoints.is_empty()
            && self.engines.is_empty()
    }

    /// With one thing given anew.
    #[must_use]
    pub fn with(&self, give: Give) -> Self {
        let mut given = self.clone();
        match give {
            Give::Profile(profile) => given.profile = Arc::new(profile),
            Give::Weights(weights) => given.weights = Arc::new(weights),
            Give::Endpoints(endpoints) => given.endpoints = Arc::new(endpoints),
            Give::Engines(engines) => given.engines = Arc::new(engines),
        }
        given
    }

    /// Adds registered backends to services, which are in the order of their names, and sets weights. What
    /// cannot be done is left out and told; it never keeps the rest from coming into force.
    pub(super) fn apply(&self, services: &mut [ServiceSettings]) -> Vec<Problem> {
        let mut notes = Vec::new();
        let mut strangers = Vec::new();
        // Engines of this node come first: it knows them better than the registry does.
        for (name, registered) in self.engines.iter().chain(&*self.endpoints) {
            match services.binary_search_by(|service| service.name.cmp(name)) {
                Ok(at) => register(&mut services[at], registered, &mut notes),
                Err(_) => strangers.push((name, registered.len())),
            }
        }
        note_strangers(&strangers, &mut notes);
        for service in services {
            if let Some(weights) = self.weights.get(&service.name) {
                weigh(service, weights, &mut notes);
            }
        }
        notes
    }
}

fn register(
    service: &mut ServiceSettings,
    registered: &BTreeMap<BackendId, RegisteredBackend>,
    notes: &mut Vec<Problem>,
) {
    if service.files.is_some() {
        let path = format!("endpoints.{}", service.name);
        let message = "are of a service that serves files; they are left out";
        let problem = Problem::new(
            path,
            Code::Unsupported,
            message,
            registered.len().to_string(),
        );
        return note(notes, problem);
    }
    let configured: BTreeSet<BackendId> = service.backends.iter().map(|b| b.id.clone()).collect();
    let configured_count = service.backends.len();
    for (id, backend) in registered {
        if configured.contains(id) {
            continue; // The file's wins.
        }
        if service.backends.len() >= BACKENDS_MAX {
            let path = format!("endpoints.{}", service.name);
            let message = "are too many; the rest is left out";
            let problem = Problem::new(path, Code::Range, message, registered.len().to_string());
            note(
                notes,
                problem.bounded(format!("at most {BACKENDS_MAX} backends")),
            );
            break;
        }
        let settings = settings_of(id, backend).and_then(|settings| {
            let of_file = &service.backends[..configured_count];
            not_of_file(&settings, of_file).map(|()| settings)
        });
        match settings {
            Ok(settings) => service.backends.push(settings),
            Err(mut problem) => {
                problem.path = shown(&format!("endpoints.{}.{id}.{}", service.name, problem.path));
                note(notes, problem);
            }
        }
    }
}

/// The same backend under a second id would get twice its work.
fn not_of_file(settings: &BackendSettings, of_file: &[BackendSettings]) -> Result<(), Problem> {
    let same = of_file.iter().find(|b| b.endpoint == settings.endpoint);
    same.map_or(Ok(()), |same| {
        let message = format!("is that of `{}` in the file", same.id);
        let address = settings.endpoint.to_string();
        Err(Problem::new(
            "address",
            Code::Infeasible,
            message,
            shown(&address),
        ))
    })
}

fn settings_of(id: &BackendId, backend: &RegisteredBackend) -> Result<BackendSettings, Problem> {
    within("id", id.as_str().len(), 1, ID_BYTES_MAX)?;
    within("zone", backend.zone.len(), 0, ZONE_BYTES_MAX)?;
    within("weight", backend.weight, 0, WEIGHT_MAX)?;
    within("priority", backend.priority, 0, PRIORITY_MAX)?;
    let endpoint = backend.address.parse().map_err(|error| {
        let error: crate::ports::net::InvalidEndpoint = error;
        let text = error.to_string();
        Problem::new("address", Code::Type, text, shown(&backend.address))
    })?;
    Ok(BackendSettings {
        id: id.clone(),
        endpoint,
        weight: backend.weight,
        zone: backend.zone.clone(),
        priority: backend.priority,
        group: backend
            .engine
            .as_ref()
            .and_then(|engine| engine.vpn.clone()),
    })
}

fn within<T: PartialOrd + ToString>(
    field: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), Problem> {
    if (&least..=&most).contains(&&value) {
        return Ok(());
    }
    let problem = Problem::new(field, Code::Range, "is out of bounds", value.to_string());
    Err(problem.bounded(format!("{} to {}", least.to_string(), most.to_string())))
}

/// Weights of backends that are not there wait for them.
fn weigh(
    service: &mut ServiceSettings,
    weights: &BTreeMap<BackendId, u32>,
    notes: &mut Vec<Problem>,
) {
    for backend in &mut service.backends {
        let Some(weight) = weights.get(&backend.id) else {
            continue;
        };
        match within("weight", *weight, 0, WEIGHT_MAX) {
            Ok(()) => backend.weight = *weight,
            Err(mut problem) => {
                problem.path = shown(&format!("weights.{}.{}", service.name, backend.id));
                note(notes, problem);
            }
        }
    }
}

/// One note for all: a fleet has services that one node's file does not have.
fn note_strangers(strangers: &[(&ServiceName, usize)], notes: &mut Vec<Problem>) {
    let backends: usize = strangers.iter().map(|(_, backends)| backends).sum();
    if let Some((first, _)) = strangers.first() {
        let message = format!(
            "is the first of {} services that the file does not have; \
             {backends} registered backends of them are left out",
            strangers.len()
        );
        let problem = Problem::new(
            "endpoints",
            Code::Unsupported,
            message,
            shown(first.as_str()),
        );
        note(notes, problem);
    }
}

fn note(notes: &mut Vec<Problem>, problem: Problem) {
    if notes.len() < NOTES_MAX {
        notes.push(problem);
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}
